package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

var _ transport.Conn = (*conn)(nil)

// window is how many messages of the peer wait here for Receive, at most.
const window = 8

type sessionStream = grpc.BidiStreamingClient[transportv1.SessionRequest, transportv1.SessionResponse]

// conn is one session on a stream of its own. Each message is answered when the medium
// has it, and the next is sent only then, so that a slow peer holds back the sender and
// an error tells what became of exactly one message.
type conn struct {
	// Immutable after creation.
	dialer  *Dialer
	process *process
	stream  sessionStream
	cancel  context.CancelFunc // of the stream
	max     int64
	part    int
	slot    chan struct{} // one place, taken while a message has no answer
	turn    chan struct{} // one place, taken while something is sent on the stream
	inbox   chan []byte
	wake    chan struct{} // one place; wakes the goroutine that sends notices
	ended   chan struct{} // closed when end stands
	gone    chan struct{} // closed when the stream is over
	closed  chan struct{} // closed when Close has a result
	closing sync.Once
	workers sync.WaitGroup

	mu       sync.Mutex
	end      *transport.CloseError    // guarded by mu; why there is no connection, the first reason stands
	complete *transportv1.Closed      // guarded by mu; the plugin's last word
	last     uint64                   // guarded by mu; the number of the last message
	answer   chan<- *transportv1.Sent // guarded by mu; of that message, one place
	owed     uint32                   // guarded by mu; messages taken, and not told
	dropped  uint64                   // guarded by mu; a message that nobody waits for, and not told
	result   error                    // guarded by mu; of Close
}

func newConn(d *Dialer, p *process, stream sessionStream, cancel context.CancelFunc, limit int64, part int) *conn {
	return &conn{
		dialer: d, process: p, stream: stream, cancel: cancel, max: limit, part: part,
		slot: make(chan struct{}, 1), turn: make(chan struct{}, 1), inbox: make(chan []byte, window),
		wake: make(chan struct{}, 1), ended: make(chan struct{}), gone: make(chan struct{}), closed: make(chan struct{}),
	}
}

// Send has the plugin send a message, and returns when the medium has it.
func (c *conn) Send(ctx context.Context, message []byte) error {
	if n := int64(len(message)); n > c.max {
		return &transport.SizeError{Sending: true, Bytes: n, Max: c.max}
	}
	if err := c.take(ctx, c.slot); err != nil {
		return err
	}
	if err := c.take(ctx, c.turn); err != nil {
		<-c.slot
		return err
	}
	answer := make(chan *transportv1.Sent, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.answer = answer
	c.mu.Unlock()
	stop := context.AfterFunc(ctx, c.abort) // a plugin that reads nothing: there is no way back
	whole, err := c.write(id, message)
	cut := !stop()
	<-c.turn
	switch {
	case cut:
		return c.cutShort(ctx, whole)
	case err != nil:
		<-c.gone // the stream is broken, and read learns of it too
		return c.why(!whole)
	}
	select {
	case m := <-answer:
		return c.sent(m)
	case <-c.gone:
		select {
		case m := <-answer:
			return c.sent(m)
		default:
		}
		c.mu.Lock()
		told := c.complete != nil // and has said that it did not send this one
		c.mu.Unlock()
		return c.why(told)
	case <-ctx.Done():
		c.mu.Lock()
		c.dropped = id
		c.mu.Unlock()
		c.nudge()
		return c.cutShort(ctx, true)
	}
}

// Receive returns the next message of the peer.
func (c *conn) Receive(ctx context.Context) ([]byte, error) {
	select {
	case m := <-c.inbox:
		return c.taken(m), nil
	default:
	}
	select {
	case m := <-c.inbox:
		return c.taken(m), nil
	case <-c.ended:
		select {
		case m := <-c.inbox: // it was there before the end
			return c.taken(m), nil
		default:
			return nil, c.why(false)
		}
	case <-ctx.Done():
		return nil, c.error("Receive", "no message came in time", false, ctx.Err())
	}
}

// Close has the plugin close the connection, and breaks off what takes longer than
// ctx, or Limits.Call where that has no end.
func (c *conn) Close(ctx context.Context, reason transport.Reason) error {
	c.closing.Do(func() {
		defer close(c.closed)
		c.finish(&transport.CloseError{Reason: reason})
		err := c.shut(ctx, reason)
		c.mu.Lock()
		c.result = err
		c.mu.Unlock()
	})
	<-c.closed
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result
}

func (c *conn) start() {
	c.workers.Go(c.read)
	c.workers.Go(c.notify)
}

// finish says that the connection is over. The first reason stands.
func (c *conn) finish(err *transport.CloseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		c.end = err
		close(c.ended)
	}
}

// why is the error of a call on a connection that is over.
//
// REQUIRES: ended is closed.
func (c *conn) why(notSent bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &transport.CloseError{Reason: c.end.Reason, NotSent: notSent, Err: c.end.Err}
}

// error makes an Error of this plugin.
func (c *conn) error(method, message string, ran bool, causes ...error) *Error {
	e := &Error{Message: message, Ran: ran, Causes: causes}
	c.dialer.sayIn(method)(e)
	return e
}

// take gets the place of a channel with one, as long as the connection is there.
func (c *conn) take(ctx context.Context, place chan struct{}) error {
	select {
	case <-c.ended: // before anything else
		return c.why(true)
	default:
	}
	select {
	case place <- struct{}{}:
		return nil
	case <-c.ended:
		return c.why(true)
	case <-ctx.Done():
		return c.error("Send", "the message before was not sent in time", false, ctx.Err(), transport.ErrNotSent)
	}
}

// write hands a message to the stream, in as many pieces as it takes. whole says that
// the last was tried, so that the plugin may have all of it.
func (c *conn) write(id uint64, message []byte) (whole bool, err error) {
	for !whole {
		n := min(len(message), c.part)
		whole = n == len(message)
		err := c.stream.Send(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Part{
			Part: &transportv1.Part{Data: message[:n], More: !whole, Id: id},
		}})
		if err != nil {
			return whole, err
		}
		message = message[n:]
	}
	return true, nil
}

// abort breaks the stream off.
func (c *conn) abort() {
	c.finish(&transport.CloseError{
		Reason: transport.Done, Err: c.error("Send", "it was broken off in the middle of a message", true),
	})
	c.cancel()
}

func (c *conn) cutShort(ctx context.Context, whole bool) error {
	if whole {
		return c.error("Send", "the message was not sent in time", true, ctx.Err())
	}
	return c.error("Send", "the plugin did not take the message in time", false, ctx.Err(), transport.ErrNotSent)
}

// sent is what the plugin says of a message.
func (c *conn) sent(m *transportv1.Sent) error {
	if m.GetFault() == nil {
		return nil
	}
	return wire.FaultFrom(m.GetFault(), c.dialer.sayIn("Send"))
}

// taken tells the plugin, now and then, that there is room again.
func (c *conn) taken(m []byte) []byte {
	c.mu.Lock()
	c.owed++
	enough := c.owed >= window/2
	c.mu.Unlock()
	if enough {
		c.nudge()
	}
	return m
}

func (c *conn) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// notify sends what nobody waits for.
func (c *conn) notify() {
	for {
		select {
		case <-c.wake:
		case <-c.gone:
			return
		}
		select {
		case c.turn <- struct{}{}:
		case <-c.gone:
			return
		}
		c.mu.Lock()
		owed, dropped := c.owed, c.dropped
		c.owed, c.dropped = 0, 0
		c.mu.Unlock()
		if owed > 0 {
			_ = c.stream.Send(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Taken{
				Taken: &transportv1.Taken{Count: owed},
			}})
		}
		if dropped > 0 {
			_ = c.stream.Send(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Cancel{
				Cancel: &transportv1.Cancel{Id: dropped},
			}})
		}
		<-c.turn
	}
}

// read takes in all that the plugin says, and never waits for anybody: there is room
// for as many messages as the plugin may send ahead.
func (c *conn) read() {
	defer c.process.end()
	defer c.dialer.forget(c)
	defer close(c.gone)
	defer c.cancel()
	var whole []byte
	for {
		m, err := c.stream.Recv()
		if err != nil {
			c.broke(err)
			return
		}
		switch m := m.GetMessage().(type) {
		case *transportv1.SessionResponse_Part:
			if whole, err = c.assemble(whole, m.Part); err != nil {
				c.finish(&transport.CloseError{Reason: transport.ProtocolError, Err: err})
				return
			}
		case *transportv1.SessionResponse_Sent:
			c.mu.Lock()
			answer := c.answer
			if m.Sent.GetId() == c.last && answer != nil {
				c.answer = nil
				answer <- m.Sent
				<-c.slot
			}
			c.mu.Unlock()
		case *transportv1.SessionResponse_Ended:
			c.finish(c.ending(m.Ended))
		case *transportv1.SessionResponse_Closed:
			c.mu.Lock()
			c.complete = m.Closed
			c.mu.Unlock()
		}
	}
}

// assemble adds a piece to those before, and puts the message away when it is whole.
func (c *conn) assemble(whole []byte, part *transportv1.Part) ([]byte, error) {
	data := part.GetData()
	if int64(len(whole))+int64(len(data)) > c.max {
		return nil, &transport.SizeError{Max: c.max}
	}
	if whole != nil || part.GetMore() {
		whole = append(whole, data...)
		data = whole
	}
	if part.GetMore() {
		return whole, nil
	}
	select {
	case c.inbox <- data:
		return nil, nil
	default:
		return nil, c.error("Receive", "the plugin sent more messages than there was room for", true)
	}
}

// ending is why the connection is over, in the plugin's words. It is about no message of
// ours, and proves nothing of one that is under way.
func (c *conn) ending(f *transportv1.Fault) *transport.CloseError {
	f.NotSent = false
	if size := f.GetTooLarge(); size != nil {
		size.Sending = false
	}
	err := wire.FaultFrom(f, c.dialer.sayIn("Receive"))
	if e, ok := errors.AsType[*transport.CloseError](err); ok {
		return e
	}
	reason := transport.PeerGone
	if errors.Is(err, transport.ErrTooLarge) {
		reason = transport.ProtocolError
	}
	return &transport.CloseError{Reason: reason, Err: err}
}

// broke is told how the stream ended.
func (c *conn) broke(err error) {
	if errors.Is(err, io.EOF) {
		c.finish(&transport.CloseError{Reason: transport.PeerGone, Err: c.error("Session", "the plugin ended the session", true)})
		return
	}
	e := fromRPC(err)
	c.dialer.sayIn("Session")(e)
	if errors.Is(e, errLost) {
		c.process.condemn("its connection broke")
	}
	c.finish(&transport.CloseError{Reason: transport.PeerGone, Err: e})
}

func (c *conn) shut(ctx context.Context, reason transport.Reason) error {
	ctx, cancel := withDefaultDeadline(ctx, c.dialer.running.limits().Call)
	defer cancel()
	defer c.workers.Wait()
	defer context.AfterFunc(ctx, c.cancel)()
	select {
	case c.turn <- struct{}{}:
		m := &transportv1.Close{Reason: wire.ReasonTo(reason)}
		if deadline, ok := ctx.Deadline(); ok {
			m.Timeout = durationpb.New(max(time.Until(deadline), 0))
		}
		_ = c.stream.Send(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Close{Close: m}}) // read learns why not
		<-c.turn
	case <-c.gone:
	}
	<-c.gone
	c.mu.Lock()
	complete := c.complete
	c.mu.Unlock()
	switch {
	case complete.GetFailure() != nil:
		e := wire.FromFailure(complete.GetFailure())
		c.dialer.sayIn("Close")(e)
		return e
	case complete == nil && ctx.Err() != nil:
		return c.error("Close", fmt.Sprintf("the plugin did not close the connection in time: %v", ctx.Err()), true, ctx.Err())
	}
	return nil // what the connection had in a process that is gone is gone with it
}
