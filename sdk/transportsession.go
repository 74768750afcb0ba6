package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

type sessionStream = grpc.BidiStreamingServer[transportv1.SessionRequest, transportv1.SessionResponse]

const (
	// sessionGrace is what the end of a connection may take when nobody says.
	sessionGrace = 5 * time.Second
	// maxWindow bounds what a host can have sent ahead.
	maxWindow = 64
)

// session is one open connection. Three goroutines serve it: the stream's own waits for
// the end, listen hands the host's messages to the connection one by one, and receive does
// the same in the other direction. While a message takes long to be sent, there is one more
// that listens.
type session struct {
	// Immutable after creation.
	stream sessionStream
	conn   transport.Conn
	max    int64
	part   int                     // the largest piece that the host takes
	room   chan struct{}           // a token for each message that the host has room for
	closed chan *transportv1.Close // the host closes; one place
	lost   chan struct{}           // closed when the host is gone from the stream, or breaks its rules
	over   chan struct{}           // closed when the connection has ended by itself
	turn   *turn                   // to listen

	medium  sync.Mutex // held while the connection sends
	stopped bool       // guarded by medium; it sends no more

	sending sync.Mutex // held while a message is sent on the stream
	ended   bool       // guarded by sending; the host has been told why there is no connection

	mu      sync.Mutex
	current uint64             // guarded by mu; the message that the host waits for
	cancel  context.CancelFunc // guarded by mu; its
}

// serveSession dials and serves until the session ends.
func serveSession(stream sessionStream, dialer transport.Dialer, open *transportv1.Open, ending <-chan struct{}) error {
	ctx, cancel := context.WithCancel(withTrace(stream.Context()))
	defer cancel()
	go func() { // so that neither dialling nor a stuck peer holds up a shutdown
		select {
		case <-ending:
			time.AfterFunc(sessionGrace, cancel)
		case <-ctx.Done():
		}
	}()
	x := &session{
		stream: stream, max: transport.Open{MaxBytes: open.GetMaxBytes()}.Limit(),
		part: wire.PartSize(messageLimit(), int(open.GetPartBytes())),
		room: make(chan struct{}, maxWindow), closed: make(chan *transportv1.Close, 1),
		lost: make(chan struct{}), over: make(chan struct{}),
	}
	x.makeRoom(max(open.GetWindow(), 1))
	err := x.dial(ctx, dialer, open)
	if err != nil {
		return x.say(&transportv1.SessionResponse{
			Message: &transportv1.SessionResponse_Ended{Ended: wire.FaultTo(err)},
		})
	}
	_ = x.say(&transportv1.SessionResponse{Message: &transportv1.SessionResponse_Opened{
		Opened: &transportv1.Opened{PartBytes: uint32(wire.PartSize(messageLimit(), 0))}, //nolint:gosec // at most MaxPart
	}})
	return x.serve(ctx, cancel, ending)
}

func (x *session) dial(ctx context.Context, dialer transport.Dialer, open *transportv1.Open) error {
	if t := open.GetTimeout(); t != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.AsDuration())
		defer cancel()
	}
	return guard("Dial", func() (err error) {
		x.conn, err = dialer.Dial(ctx, wire.OpenFrom(open))
		if err == nil && x.conn == nil {
			err = errors.New("the dialer returned neither a connection nor an error")
		}
		return err
	})
}

// serve runs the connection and ends it.
func (x *session) serve(ctx context.Context, cancel context.CancelFunc, ending <-chan struct{}) error {
	var receiver sync.WaitGroup
	stop := make(chan struct{})
	receiver.Go(func() { x.receive(ctx, stop) })
	x.turn = newTurn(func() { go x.listen(ctx) })
	defer x.turn.stop()
	go x.listen(ctx) // ends with the stream, when this method returns

	reason, grace := transport.ShuttingDown, sessionGrace
	select {
	case m := <-x.closed:
		reason = wire.ReasonFrom(m.GetReason())
		if t := m.GetTimeout(); t != nil {
			grace = t.AsDuration()
		}
	case <-x.lost:
	case <-ending:
		x.end(&transport.CloseError{Reason: transport.ShuttingDown, Err: errors.New("the plugin is shutting down")})
	case <-x.over:
		reason = transport.Done
	}
	within, done := context.WithTimeout(context.WithoutCancel(ctx), grace)
	err := guard("Close", func() error { return x.conn.Close(within, reason) })
	done()
	cancel()
	close(stop)
	receiver.Wait()
	x.medium.Lock() // whatever has no answer now was not sent, and Closed says so
	x.stopped = true
	x.medium.Unlock()
	m := &transportv1.Closed{}
	if err != nil {
		m.Failure = wire.Failure(err)
	}
	return x.say(&transportv1.SessionResponse{Message: &transportv1.SessionResponse_Closed{Closed: m}})
}

// say sends one message on the stream.
func (x *session) say(m *transportv1.SessionResponse) error {
	x.sending.Lock()
	defer x.sending.Unlock()
	return x.stream.Send(m)
}

// end tells the host why there is no connection any more. The first reason stands.
func (x *session) end(err error) {
	// One that was too large ends the connection, and the host has to say both.
	if size, ok := errors.AsType[*transport.SizeError](err); ok {
		err = size
	}
	x.sending.Lock()
	defer x.sending.Unlock()
	if !x.ended {
		x.ended = true
		_ = x.stream.Send(&transportv1.SessionResponse{Message: &transportv1.SessionResponse_Ended{Ended: wire.FaultTo(err)}})
	}
}

// listen reads what the host sends, as long as it has the turn.
func (x *session) listen(ctx context.Context) {
	var whole []byte // the pieces of a message so far
	for {
		m, err := x.stream.Recv()
		if err != nil {
			close(x.lost)
			return
		}
		switch m := m.GetMessage().(type) {
		case *transportv1.SessionRequest_Part:
			data := m.Part.GetData()
			if int64(len(whole))+int64(len(data)) > x.max {
				close(x.lost) // the host knows the limit
				return
			}
			if whole != nil || m.Part.GetMore() {
				whole = append(whole, data...)
				data = whole
			}
			if m.Part.GetMore() {
				continue
			}
			whole = nil
			ctx, ok := x.take(ctx, m.Part.GetId())
			if !ok {
				close(x.lost)
				return
			}
			number := x.turn.begin()
			x.send(ctx, m.Part.GetId(), data)
			if !x.turn.end(number) {
				return
			}
		case *transportv1.SessionRequest_Cancel:
			x.mu.Lock()
			if x.cancel != nil && x.current == m.Cancel.GetId() {
				x.cancel()
			}
			x.mu.Unlock()
		case *transportv1.SessionRequest_Taken:
			x.makeRoom(m.Taken.GetCount())
		case *transportv1.SessionRequest_Close:
			select {
			case x.closed <- m.Close:
			default:
			}
		}
	}
}

// take makes the context of a message to send. It reports false if the host did not wait
// for the answer to the one before.
func (x *session) take(ctx context.Context, id uint64) (context.Context, bool) {
	ctx, cancel := context.WithCancel(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cancel != nil {
		cancel()
		return nil, false
	}
	x.current, x.cancel = id, cancel
	return ctx, true
}

// send hands a message to the connection, and answers it.
func (x *session) send(ctx context.Context, id uint64, data []byte) {
	x.medium.Lock()
	defer x.medium.Unlock()
	if x.stopped {
		return
	}
	err := guard("Send", func() error { return x.conn.Send(ctx, data) })
	x.mu.Lock()
	x.cancel()
	x.cancel = nil
	x.mu.Unlock()
	answer := &transportv1.Sent{Id: id}
	if err != nil {
		answer.Fault = wire.FaultTo(err)
	}
	_ = x.say(&transportv1.SessionResponse{Message: &transportv1.SessionResponse_Sent{Sent: answer}})
}

func (x *session) makeRoom(n uint32) {
	for range min(n, maxWindow) {
		select {
		case x.room <- struct{}{}:
		default:
			return
		}
	}
}

// receive passes on what the peer sends, as long as the host has room, and says at
// the end why there is no more.
func (x *session) receive(ctx context.Context, stop <-chan struct{}) {
	defer close(x.over)
	for id := uint64(1); ; id++ {
		select {
		case <-x.room:
		case <-stop:
			return
		}
		var data []byte
		err := guard("Receive", func() (err error) { data, err = x.conn.Receive(ctx); return err })
		if err != nil {
			x.end(err)
			return
		}
		if err := x.pass(id, data); err != nil {
			return // the host is gone
		}
	}
}

// pass sends one message in as many pieces as it takes.
func (x *session) pass(id uint64, data []byte) error {
	if int64(len(data)) > x.max {
		err := &transport.SizeError{Bytes: int64(len(data)), Max: x.max}
		x.end(err)
		return err
	}
	for {
		n := min(len(data), x.part)
		m := &transportv1.Part{Data: data[:n], More: n < len(data), Id: id}
		if err := x.say(&transportv1.SessionResponse{Message: &transportv1.SessionResponse_Part{Part: m}}); err != nil {
			return fmt.Errorf("sdk: %w", err)
		}
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}
