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

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

const (
	// signLook is how often a look is taken, while there are calls, at what the receiving
	// goroutine does. A call that is still the same at the next look is a slow one.
	signLook = 5 * time.Millisecond
	// signAtOnce tells a message that was there already from one that was waited for.
	signAtOnce = 5 * time.Microsecond
)

// Sign answers the requests of the stream side by side, so that a slow one stands in
// nobody's way.
func (s *authServer) Sign(stream grpc.BidiStreamingServer[authv1.SignRequest, authv1.SignResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	x := &signStream{
		server: s, stream: stream, ctx: ctx, limit: runtime.GOMAXPROCS(0),
		ended: make(chan error, 1), turn: make(chan struct{}, 1),
		cancels: make(map[uint64]context.CancelFunc), receivers: 1,
	}
	x.look = time.AfterFunc(signLook, x.lookAround)
	defer x.running.Wait()
	defer x.look.Stop()
	defer cancel()
	x.running.Go(x.receive)
	return <-x.ended
}

// signStream is one open stream. One goroutine has the turn to receive, and answers what
// it received itself, which spares a signature that comes alone a switch of goroutines.
// It gives the turn away where others wait already: to one of as many goroutines as there
// are processors, which stay, because new ones would first have to grow their stacks. And
// lookAround takes the turn from one that is caught in a slow call. Slow ones wait for
// somebody else, so they get as many goroutines as there are calls.
type signStream struct {
	// Immutable after creation.
	server *authServer
	stream grpc.BidiStreamingServer[authv1.SignRequest, authv1.SignResponse]
	ctx    context.Context //nolint:containedctx // the stream's
	limit  int             // goroutines for signatures that are not slow
	look   *time.Timer
	ended  chan error    // one place; why nothing is received any more
	turn   chan struct{} // one place; for one that waits for its turn

	running sync.WaitGroup
	slow    atomic.Bool // the last signature was

	sending sync.Mutex // held while a message is sent

	mu        sync.Mutex
	cancels   map[uint64]context.CancelFunc // guarded by mu; of the calls that run
	receivers int                           // guarded by mu; goroutines
	waiting   int                           // guarded by mu; of them, for their turn
	here      uint64                        // guarded by mu; the call that who has the turn answers, 0 for none
	count     uint64                        // guarded by mu; of such calls
	seen      uint64                        // guarded by mu; count at the last look
	looking   bool                          // guarded by mu; a look is going to be taken
}

// receive takes messages whenever it is its turn, until there are no more, or others
// enough to take them.
func (x *signStream) receive() {
	for began := time.Now(); ; {
		m, err := x.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			x.ended <- err // nobody gets the turn
			return
		}
		now := time.Now()
		switch {
		case m.GetCancel() != nil:
			x.cancel(m.GetId())
		case m.GetObservation() != nil: // takes note in memory and returns
			_ = guard("Observe", func() error { return x.server.observe(m.GetObservation()) })
		case m.GetCall() != nil:
			ctx, done := x.begin(m, now)
			kept := x.keep(now.Sub(began) < signAtOnce)
			now = x.answer(ctx, m, done, now)
			if !x.kept(kept) {
				if !x.await() {
					return
				}
				now = time.Now()
			}
		}
		began = now
	}
}

// keep returns the number of a call that is going to be answered by who has the turn, or
// 0 if it has given the turn away.
func (x *signStream) keep(othersWait bool) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if (othersWait || x.slow.Load()) && x.passLocked() {
		return 0
	}
	x.count++
	x.here = x.count
	if !x.looking {
		x.looking = true
		x.look.Reset(signLook)
	}
	return x.here
}

// kept reports whether the turn still is with who answered the call of that number.
func (x *signStream) kept(call uint64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if call == 0 || call != x.here {
		return false
	}
	x.here = 0
	return true
}

// passLocked gives the turn to another goroutine, if there may be one.
//
// REQUIRES: x.mu, and the turn.
func (x *signStream) passLocked() bool {
	switch {
	case x.waiting > 0:
		x.waiting--
		x.turn <- struct{}{} // the place is free: there is one turn
	case x.receivers < x.limit || x.slow.Load():
		x.receivers++
		x.running.Go(x.receive)
	default:
		return false
	}
	return true
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
	case <-x.turn:
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
func (x *signStream) begin(m *authv1.SignRequest, now time.Time) (context.Context, func()) {
	ctx, cancel := context.WithCancel(x.ctx)
	done := cancel
	if t := m.GetCall().GetTimeout(); t != nil {
		var release func()
		ctx, release = wire.Due(ctx, now.Add(t.AsDuration()))
		done = func() { release(); cancel() }
	}
	x.mu.Lock()
	x.cancels[m.GetId()] = cancel
	x.mu.Unlock()
	return ctx, done
}

// lookAround gives the turn to another goroutine, if who has it has been answering the
// same call since the last look. Where nothing happened since then, it is the last.
func (x *signStream) lookAround() {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.here != 0 && x.here == x.seen:
		x.here = 0
		x.slow.Store(true)
		x.passLocked()
	case x.here == 0 && x.count == x.seen:
		x.looking = false
		return
	}
	x.seen = x.count
	x.look.Reset(signLook)
}

// answer answers a call that came at the time began, and reports when it had.
func (x *signStream) answer(ctx context.Context, m *authv1.SignRequest, done func(), began time.Time) (answered time.Time) {
	defer done()
	answer := &authv1.SignResponse{Id: m.GetId()}
	var sig auth.Signature
	err := guard("Sign", func() (err error) {
		sig, err = x.server.sign(withTraceparent(ctx, m.GetCall().GetTraceparent()), m.GetCall())
		return err
	})
	if err != nil {
		answer.Message = &authv1.SignResponse_Failure{Failure: wire.Failure(err)}
	} else {
		answer.Message = &authv1.SignResponse_Signature{Signature: wire.SignatureTo(sig)}
	}
	x.mu.Lock()
	delete(x.cancels, m.GetId())
	x.mu.Unlock()
	x.sending.Lock()
	_ = x.stream.Send(answer) // a stream that is broken ends in Recv
	x.sending.Unlock()
	answered = time.Now()
	if slow := answered.Sub(began) > signLook; slow != x.slow.Load() {
		x.slow.Store(slow)
	}
	return answered
}
func (s *authServer) sign(ctx context.Context, call *authv1.SignCall) (auth.Signature, error) {
	p, end, err := s.provider(call.GetInstance())
	if err != nil {
		return auth.Signature{}, err
	}
	defer end()
	signer, ok := auth.AsSigner(p)
	if !ok {
		return auth.Signature{}, fmt.Errorf("the instance does not sign: %w", auth.ErrUnsupported)
	}
	return signer.Sign(ctx, wire.RequestFrom(call.GetRequest()), wire.HTTPRequestFrom(call.GetHttp()))
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
