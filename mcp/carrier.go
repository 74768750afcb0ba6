package mcpool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

var _ mcp.Connection = (*carrier)(nil)

// carrier is a connection of a transport.Dialer as the SDK wants it.
//
// One goroutine does all the sending. A caller hands it a message and waits, for as
// long as its own context allows: if that ends while the message is on its way, the
// message goes on, because half a message would end the session for everybody on
// it. Nobody queues messages, so a peer that does not read holds up its callers and
// nothing else.
type carrier struct {
	// Immutable after creation.
	conn   transport.Conn
	limit  int64
	ctx    context.Context //nolint:containedctx // of the connection's life
	cancel context.CancelFunc
	out    chan *parcel
	shut   chan struct{} // closed when Close begins
	gone   chan struct{} // closed when Close has its result

	closing  sync.Once
	closeErr error                                // readable after gone
	end      atomic.Pointer[transport.CloseError] // why it ended; the first reason stands

	queue []jsonrpc.Message // of a batch, unread; the reader's alone
}

// parcel is a message to be sent.
type parcel struct {
	data []byte
	call *call // whose request it is; nil for what is no call of the pool's
	sent chan error
}

// closeTimeout bounds the end of one connection.
const closeTimeout = 5 * time.Second

func newCarrier(conn transport.Conn, limit int64) *carrier {
	c := &carrier{
		conn: conn, limit: limit,
		out: make(chan *parcel), shut: make(chan struct{}), gone: make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	go c.send()
	return c
}

// Write sends one message and returns when the connection has it.
func (c *carrier) Write(ctx context.Context, msg jsonrpc.Message) error {
	data, err := jsonrpc.EncodeMessage(msg)
	if err != nil {
		return rejected(err)
	}
	if size := int64(len(data)); size > c.limit {
		return rejected(&transport.SizeError{Sending: true, Bytes: size, Max: c.limit})
	}
	p := &parcel{data: data, sent: make(chan error, 1)}
	if req, ok := msg.(*jsonrpc.Request); ok && req.IsCall() {
		p.call = callOf(ctx)
	}
	select {
	case c.out <- p:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", transport.ErrNotSent, contextError(ctx))
	case <-c.shut:
		return c.broken(&transport.CloseError{NotSent: true})
	}
	select {
	case err = <-p.sent:
	case <-ctx.Done():
		return contextError(ctx) // and the message goes its way
	case <-c.shut:
		select {
		case err = <-p.sent:
		default:
			return c.broken(&transport.CloseError{})
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, transport.ErrClosed):
		return c.broken(err)
	case errors.Is(err, transport.ErrTooLarge), errors.Is(err, transport.ErrNotSent):
		return rejected(err) // this one only: the connection lives on
	}
	return c.broken(err)
}

// rejected marks an error as that of one message: the SDK ends the session over
// all others.
func rejected(err error) error {
	return fmt.Errorf("%w: %w", &jsonrpc.Error{Code: codeRejected, Message: "rejected by transport"}, err)
}

// Read returns the next message. Servers up to 2025-03-26 may send several at
// once, in an array.
func (c *carrier) Read(context.Context) (jsonrpc.Message, error) {
	for len(c.queue) == 0 {
		data, err := c.receive()
		if err != nil {
			return nil, c.broken(err)
		}
		if c.queue, err = decode(data); err != nil {
			return nil, c.broken(&transport.CloseError{Reason: transport.ProtocolError, Err: err})
		}
	}
	msg := c.queue[0]
	c.queue = c.queue[1:]
	return msg, nil
}

// decode reads one message, or an array of them.
func decode(data []byte) ([]jsonrpc.Message, error) {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '[' {
		msg, err := jsonrpc.DecodeMessage(data)
		if err != nil {
			return nil, errUnreadable
		}
		return []jsonrpc.Message{msg}, nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil || len(parts) == 0 {
		return nil, errUnreadable
	}
	msgs := make([]jsonrpc.Message, len(parts))
	for i, part := range parts {
		var err error
		if msgs[i], err = jsonrpc.DecodeMessage(part); err != nil {
			return nil, errUnreadable
		}
	}
	return msgs, nil
}

// errUnreadable stands for what a decoder says, which may quote the message.
var errUnreadable = errors.New("mcpool: the server sent what is no JSON-RPC message")

// Close ends the connection, with the reason if there is one, and waits for that.
func (c *carrier) Close() error {
	c.closing.Do(func() {
		c.end.CompareAndSwap(nil, &transport.CloseError{Reason: transport.Done})
		close(c.shut)
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		c.closeErr = c.closeConn(ctx, c.end.Load().Reason)
		c.cancel()
		close(c.gone)
	})
	<-c.gone
	return c.closeErr
}

// SessionID is empty: a connection is a session, and needs no name for it.
func (c *carrier) SessionID() string { return "" }

// send is the one goroutine that sends.
func (c *carrier) send() {
	for {
		select {
		case p := <-c.out:
			p.sent <- c.sendOne(p)
		case <-c.shut:
			return
		}
	}
}

// sendOne sends a message and notes with the call it belongs to whether the peer
// may have it.
func (c *carrier) sendOne(p *parcel) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = c.broken(&transport.CloseError{Reason: transport.ProtocolError, Err: fmt.Errorf("mcpool: Send panicked: %v", v)})
		}
	}()
	if p.call != nil {
		p.call.wrote.Store(true)
	}
	err = c.conn.Send(c.ctx, p.data)
	if p.call != nil && errors.Is(err, transport.ErrNotSent) {
		p.call.wrote.Store(false)
	}
	return err
}

// receive takes one message from the connection. It is not trusted with the limit.
func (c *carrier) receive() (data []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &transport.CloseError{Reason: transport.ProtocolError, Err: fmt.Errorf("mcpool: Receive panicked: %v", v)}
		}
	}()
	data, err = c.conn.Receive(c.ctx)
	if err == nil && int64(len(data)) > c.limit {
		err = &transport.SizeError{Bytes: int64(len(data)), Max: c.limit}
	}
	return data, err
}

// broken notes the end of the connection, the first reason for which stands, and
// returns it.
func (c *carrier) broken(err error) *transport.CloseError {
	var closed *transport.CloseError
	switch {
	case errors.As(err, &closed):
		closed = &transport.CloseError{Reason: closed.Reason, NotSent: closed.NotSent, Err: closed.Err}
	case errors.Is(err, transport.ErrTooLarge):
		closed = &transport.CloseError{Reason: transport.ProtocolError, Err: err}
	default:
		closed = &transport.CloseError{Reason: transport.PeerGone, Err: err}
	}
	if !c.end.CompareAndSwap(nil, &transport.CloseError{Reason: closed.Reason, Err: closed.Err}) {
		first := c.end.Load()
		closed.Reason, closed.Err = first.Reason, first.Err
	}
	return closed
}

func (c *carrier) closeConn(ctx context.Context, reason transport.Reason) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("mcpool: Close of a connection panicked: %v", v)
		}
	}()
	return c.conn.Close(ctx, reason) //nolint:wrapcheck // the pool says what it was doing
}

// finish ends the connection and then the SDK's session, which would wait for
// whatever does not get through.
func (c *carrier) finish(cs *mcp.ClientSession) error {
	err := c.Close()
	_ = cs.Close() // there is nothing behind it any more
	return err
}

// ended says why the connection ended, or is nil if it did not, or because we
// wanted it to.
func (c *carrier) ended() error {
	if end := c.end.Load(); end != nil && end.Reason != transport.Done {
		return end
	}
	return nil
}

// explain says what a failed attempt over this connection means: whether the
// session is gone, and whether the call may have run.
func (c *carrier) explain(call *call, err error) error {
	var (
		closed *transport.CloseError
		size   *transport.SizeError
	)
	lost := errors.As(err, &closed) || errors.Is(err, mcp.ErrConnectionClosed) || errors.Is(err, io.EOF)
	switch {
	case !lost && errors.As(err, &size) && size.Sending:
		return size
	case !lost && errors.Is(err, transport.ErrNotSent) && call.Err() == nil:
		return &SessionError{Err: err}
	case !lost:
		return err
	}
	cause, mayRun := c.ended(), call.wrote.Load()
	if end := c.end.Load(); end != nil && end.Reason == transport.SessionGone {
		mayRun = false // the peer says so
	}
	return &SessionError{Gone: true, MayRun: mayRun, Err: cause}
}
