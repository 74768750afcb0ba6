package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

var _ transport.Conn = (*conn)(nil)

// conn is one WebSocket.
type conn struct {
	// Immutable after creation.
	ws    *websocket.Conn
	line  *cutter
	limit int64
	cfg   *Config

	end       atomic.Pointer[transport.CloseError] // why it ended; the first reason stands
	receiving atomic.Bool                          // somebody is there to hear a pong
	sending   atomic.Int64                         // messages begun and not finished: 0 or 1
	size      int                                  // of the last message; the receiver's alone

	closing sync.Once
	stop    context.CancelFunc // of the pings
	pinging sync.WaitGroup
	gone    chan struct{} // closed when Close has its result
}

func newConn(ws *websocket.Conn, line *cutter, limit int64, cfg *Config) *conn {
	ws.SetReadLimit(limit)
	c := &conn{ws: ws, line: line, limit: limit, cfg: cfg, gone: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	if cfg.PingInterval != never {
		c.pinging.Go(func() { c.ping(ctx) })
	}
	return c
}

// Send writes one message as one frame.
func (c *conn) Send(ctx context.Context, message []byte) error {
	if size := int64(len(message)); size > c.limit {
		return &transport.SizeError{Sending: true, Bytes: size, Max: c.limit}
	}
	if end := c.end.Load(); end != nil {
		return notSent(end)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", transport.ErrNotSent, context.Cause(ctx))
	}
	c.sending.Store(1)
	defer c.sending.Store(0)
	if c.cfg.SendTimeout != never {
		stuck := time.AfterFunc(c.cfg.SendTimeout, func() {
			c.giveUp(fmt.Errorf("websocket: a message was stuck for %v", c.cfg.SendTimeout))
		})
		defer stuck.Stop()
	}
	err := c.ws.Write(ctx, websocket.MessageText, message)
	if err == nil {
		return nil
	}
	// The library reports an error only where the frame did not go out whole, and the
	// connection is of no more use then.
	c.giveUp(err)
	return notSent(c.end.Load())
}

func notSent(end *transport.CloseError) error {
	return &transport.CloseError{Reason: end.Reason, NotSent: true, Err: end.Err}
}

// Receive reads one message into memory of its own. That is as large as the last
// message was, because messages of a kind follow each other: most are then read
// from the wire straight to where they stay.
func (c *conn) Receive(ctx context.Context) ([]byte, error) {
	if end := c.end.Load(); end != nil {
		return nil, end
	}
	c.receiving.Store(true)
	defer c.receiving.Store(false)
	kind, r, err := c.ws.Reader(ctx)
	if err != nil {
		return nil, c.ended(ctx, err)
	}
	if kind != websocket.MessageText {
		c.note(&transport.CloseError{Reason: transport.ProtocolError, Err: errors.New("websocket: the peer sent a binary message")})
		return nil, c.end.Load()
	}
	buf := make([]byte, 0, max(c.size, 512))
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && c.line.failed.Load():
			// The library takes the end of the network between two frames of a
			// message for the end of the message.
			return nil, c.ended(ctx, io.ErrUnexpectedEOF)
		case errors.Is(err, io.EOF):
			c.size = min(len(buf)+1, 1<<20) // one more, to see the end without growing
			return buf, nil
		default:
			return nil, c.ended(ctx, err)
		}
	}
}

// Close tells the peer and gives it a moment to agree.
func (c *conn) Close(ctx context.Context, reason transport.Reason) error {
	c.closing.Do(func() {
		c.note(&transport.CloseError{Reason: reason})
		c.stop()
		within, cancel := context.WithTimeout(ctx, c.cfg.CloseTimeout)
		defer cancel()
		impatient := context.AfterFunc(within, c.line.cut)
		defer impatient()
		if reason == transport.PeerGone || c.sending.Load() != 0 {
			c.line.cut() // there is nobody to tell, or no way to
		}
		_ = c.ws.Close(codeOf(reason), reason.String()) // however it ends, it is over
		c.line.cut()
		c.pinging.Wait()
		close(c.gone)
	})
	<-c.gone
	return nil
}

// ended notes why reading failed and returns the reason that stands.
func (c *conn) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && c.end.Load() == nil {
		c.note(&transport.CloseError{Reason: transport.PeerGone, Err: err}) // the library has cut it
		return context.Cause(ctx)                                           //nolint:wrapcheck // the caller's own
	}
	end := &transport.CloseError{Reason: transport.PeerGone, Err: err}
	if errors.Is(err, websocket.ErrMessageTooBig) {
		end.Reason, end.Err = transport.ProtocolError, &transport.SizeError{Max: c.limit}
	} else if code := websocket.CloseStatus(err); code != -1 {
		end.Reason, end.Err = reasonOf(code), fmt.Errorf("websocket: the peer closed with %d", code) // its text may hold anything
	}
	c.note(end)
	return c.end.Load()
}

// note keeps the first reason.
func (c *conn) note(end *transport.CloseError) { c.end.CompareAndSwap(nil, end) }

// giveUp cuts the connection, which makes everybody on it return.
func (c *conn) giveUp(err error) {
	c.note(&transport.CloseError{Reason: transport.PeerGone, Err: err})
	c.line.cut()
}

// ping sees to it that a peer that is silently gone is noticed.
func (c *conn) ping(ctx context.Context) {
	tick := time.NewTicker(c.cfg.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// The library cuts a connection over a ping whose context ends while it is
		// being written, so the time-out is kept apart from it.
		pong := make(chan struct{})
		c.pinging.Go(func() {
			defer close(pong)
			_ = c.ws.Ping(ctx) // if it fails, whoever receives learns why
		})
		if !c.answered(ctx, pong) {
			c.giveUp(fmt.Errorf("websocket: no answer to a ping within %v", c.cfg.PingTimeout))
			return
		}
	}
}

// answered waits for a pong, and reports false if it should have come. It may take
// its time while nobody listens, while a message stands in its way, and while
// anything else comes: all that proves nothing against the peer. A message that is
// stuck has a time-out of its own.
func (c *conn) answered(ctx context.Context, pong <-chan struct{}) bool {
	for {
		heard, idle := c.line.heard.Load(), c.receiving.Load() && c.sending.Load() == 0
		timer := time.NewTimer(c.cfg.PingTimeout)
		select {
		case <-pong:
			timer.Stop()
			return true
		case <-ctx.Done():
			timer.Stop()
			return true
		case <-timer.C:
		}
		if idle && c.receiving.Load() && c.sending.Load() == 0 && c.line.heard.Load() == heard {
			return false
		}
	}
}

// What close codes mean (RFC 6455, 7.4). 4404 and 4410 are this package's.
const (
	codeSessionUnknown websocket.StatusCode = 4404
	codeSessionGone    websocket.StatusCode = 4410
)

func reasonOf(code websocket.StatusCode) transport.Reason {
	switch code {
	case codeSessionUnknown, codeSessionGone:
		return transport.SessionGone
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusServiceRestart, websocket.StatusTryAgainLater:
		return transport.ShuttingDown
	case websocket.StatusProtocolError, websocket.StatusUnsupportedData, websocket.StatusInvalidFramePayloadData,
		websocket.StatusPolicyViolation, websocket.StatusMessageTooBig, websocket.StatusMandatoryExtension:
		return transport.ProtocolError
	default:
		return transport.PeerGone
	}
}

func codeOf(r transport.Reason) websocket.StatusCode {
	switch r {
	case transport.ShuttingDown:
		return websocket.StatusGoingAway
	case transport.ProtocolError:
		return websocket.StatusProtocolError
	default:
		return websocket.StatusNormalClosure
	}
}
