package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// signAtOnce tells a message that was there already from one that was waited for.
const signAtOnce = 5 * time.Microsecond

// Sign answers the requests of the stream side by side, so that a slow one stands in
// nobody's way.
func (s *authServer) Sign(stream grpc.BidiStreamingServer[authv1.SignRequest, authv1.SignResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	x := &signStream{
		server: s, stream: stream, ctx: ctx, limit: runtime.NumCPU(), largest: messageLimit(),
		ended: make(chan error, 1), next: make(chan struct{}, 1),
		cancels: make(map[uint64]context.CancelFunc), receivers: 1,
	}
	x.turn = newTurn(x.stuck)
	defer x.running.Wait()
	defer x.turn.stop()
	defer cancel()
	x.running.Go(x.receive)
	return <-x.ended
}

// signStream is one open stream. One goroutine has the turn to receive, and answers what
// it received itself, which spares a signature that comes alone a switch of goroutines.
// It gives the turn away where others wait already: to one of as many goroutines as there
// are processors, which stay, because new ones would first have to grow their stacks. And
// it loses the turn when it is caught in a slow call. Slow ones wait for somebody else, so
// they get as many goroutines as there are calls.
type signStream struct {
	// Immutable after creation.
	server *authServer
	stream grpc.BidiStreamingServer[authv1.SignRequest, authv1.SignResponse]
	ctx    context.Context //nolint:containedctx // the stream's
	limit  int             // goroutines for signatures that are not slow
	// largest is how many bytes a message may have. One that has more would end the stream
	// for everybody.
	largest int
	turn    *turn
	ended   chan error    // one place; why nothing is received any more
	next    chan struct{} // one place; for one that waits for its turn

	running sync.WaitGroup
	slow    atomic.Bool // the last signature was

	sending sync.Mutex // held while a message is sent

	mu        sync.Mutex
	cancels   map[uint64]context.CancelFunc // guarded by mu; of the calls that run
	receivers int                           // guarded by mu; goroutines
	waiting   int                           // guarded by mu; of them, for their turn
}

// receive takes messages whenever it is its turn, until there are no more, or others
// enough to take them.
func (x *signStream) receive() {
	for began := time.Now(); ; {
		var message wire.Received
		err := x.stream.RecvMsg(&message)
		var m wire.SignRequest
		if err == nil {
			m, err = wire.SignRequestFrom(message)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			x.ended <- err // nobody gets the turn
			return
		}
		now := time.Now()
		switch {
		case m.Cancel:
			x.cancel(m.ID)
		case m.Observation != nil: // takes note in memory and returns
			_ = guard("Observe", func() error { return x.server.observe(m.Observation) })
		case m.Call != nil:
			ctx, done := x.begin(m.ID, m.Call, now)
			mine, slow := false, x.slow.Load()
			if (slow || now.Sub(began) < signAtOnce) && x.pass(slow) { // others wait
				now = x.answer(ctx, m.ID, m.Call, done, now)
			} else {
				number := x.turn.begin()
				now = x.answer(ctx, m.ID, m.Call, done, now)
				mine = x.turn.end(number)
			}
			if !mine {
				if !x.await() {
					return
				}
				now = time.Now()
			}
		}
		began = now
	}
}

// pass gives the turn to another goroutine, if there may be one more; always, if it has to
// be had by somebody.
func (x *signStream) pass(always bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.waiting > 0:
		x.waiting--
		x.next <- struct{}{} // the place is free: there is one turn
	case x.receivers < x.limit || always:
		x.receivers++
		x.running.Go(x.receive)
	default:
		return false
	}
	return true
}

// stuck is called when who has the turn is caught in a slow call, and lost it.
func (x *signStream) stuck() {
	x.slow.Store(true)
	x.pass(true)
}

// await waits for the turn. It reports false to one of whom there are too many.
func (x *signStream) await() bool {
	x.mu.Lock()
	if x.waiting+1 >= x.limit { // and one has the turn
		x.receivers--
		x.mu.Unlock()
		return false
	}
	x.waiting++
	x.mu.Unlock()
	select {
	case <-x.next:
		return true
	case <-x.ctx.Done():
		return false
	}
}

func (x *signStream) cancel(id uint64) {
	x.mu.Lock()
	cancel := x.cancels[id]
	x.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// begin makes the context of a call, before anything else is received.
func (x *signStream) begin(id uint64, call *wire.SignCall, now time.Time) (context.Context, func()) {
	ctx, cancel := context.WithCancel(x.ctx)
	done := cancel
	if call.Timeout != nil {
		var release func()
		ctx, release = wire.Due(ctx, now.Add(call.Timeout.AsDuration()))
		done = func() { release(); cancel() }
	}
	x.mu.Lock()
	x.cancels[id] = cancel
	x.mu.Unlock()
	return ctx, done
}

// answer answers a call that came at the time began, and reports when it had.
func (x *signStream) answer(
	ctx context.Context, id uint64, call *wire.SignCall, done func(), began time.Time,
) (answered time.Time) {
	defer done()
	var answer any
	err := guard("Sign", func() error {
		sig, err := x.server.sign(withTraceparent(ctx, call.Traceparent), call)
		if err != nil {
			return err
		}
		message, err := wire.SignatureTo(sig)
		message = message.WithID(id)
		if err == nil && len(message) > x.largest {
			err = fmt.Errorf("the signature takes %d bytes, and Limits.MessageBytes allows %d", len(message), x.largest)
		}
		answer = &message
		return err
	})
	if err != nil {
		f := wire.Failure(err)
		failure := &authv1.SignResponse{Id: id, Message: &authv1.SignResponse_Failure{Failure: f}}
		if proto.Size(failure) > x.largest {
			f.Causes = nil
		}
		answer = failure
	}
	x.mu.Lock()
	delete(x.cancels, id)
	x.mu.Unlock()
	x.sending.Lock()
	_ = x.stream.SendMsg(answer) // a stream that is broken ends in Recv
	x.sending.Unlock()
	answered = time.Now()
	if slow := answered.Sub(began) > turnLook; slow != x.slow.Load() {
		x.slow.Store(slow)
	}
	return answered
}

func (s *authServer) sign(ctx context.Context, call *wire.SignCall) (auth.Signature, error) {
	p, end, err := s.provider(call.Instance)
	if err != nil {
		return auth.Signature{}, err
	}
	defer end()
	signer, ok := auth.AsSigner(p)
	if !ok {
		return auth.Signature{}, fmt.Errorf("the instance does not sign: %w", auth.ErrUnsupported)
	}
	return signer.Sign(ctx, call.Request, call.HTTP)
}

func (s *authServer) observe(m *authv1.Observation) error {
	p, end, err := s.provider(m.GetInstance())
	if err != nil {
		return err
	}
	defer end()
	if o, ok := auth.AsObserver(p); ok {
		o.Observe(wire.RequestFrom(m.GetRequest()), auth.Observation{
			URL: m.GetUrl(), Status: int(m.GetStatus()), Header: wire.HeaderFrom(m.GetHeaders()),
		})
	}
	return nil
}
