package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	x := &signStream{server: s, stream: stream, ctx: ctx, cancels: make(map[uint64]context.CancelFunc), ended: make(chan error, 1)}
	x.look = time.AfterFunc(signLook, x.lookAround)
	defer x.running.Wait()
	defer x.look.Stop()
	defer cancel()
	x.running.Go(func() { x.receive(0) })
	return <-x.ended
}

// signStream is one open stream. One goroutine receives, and answers what it received
// itself, which spares each signature that comes alone a switch of goroutines. It does
// not where others wait already, and lookAround puts another in its place when it is
// caught in a slow call.
type signStream struct {
	// Immutable after creation.
	server *authServer
	stream grpc.BidiStreamingServer[authv1.SignRequest, authv1.SignResponse]
	ctx    context.Context //nolint:containedctx // the stream's
	look   *time.Timer
	ended  chan error // one place; why nothing is received any more

	running sync.WaitGroup
	slow    atomic.Bool // the last signature was

	sending sync.Mutex // held while a message is sent

	mu       sync.Mutex
	cancels  map[uint64]context.CancelFunc // guarded by mu; of the calls that run
	receiver int                           // guarded by mu; the goroutine that receives
	here     uint64                        // guarded by mu; the call that the receiver answers, 0 for none
	count    uint64                        // guarded by mu; of such calls
	seen     uint64                        // guarded by mu; count at the last look
	looking  bool                          // guarded by mu; a look is going to be taken
}

// receive takes messages until another goroutine does, or there are no more.
func (x *signStream) receive(me int) {
	for began := time.Now(); ; {
		m, err := x.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			x.ended <- err
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
			if now.Sub(began) < signAtOnce || x.slow.Load() {
				x.running.Go(func() { x.answer(ctx, m, done, now) })
				break
			}
			var mine bool
			if now, mine = x.answerHere(ctx, me, m, done, now); !mine {
				return
			}
		}
		began = now
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

// answerHere answers a call in the goroutine that receives. It reports when it had, and
// whether that goroutine still is to receive.
func (x *signStream) answerHere(
	ctx context.Context, me int, m *authv1.SignRequest, done func(), now time.Time,
) (answered time.Time, mine bool) {
	x.mu.Lock()
	x.count++
	x.here = x.count
	if !x.looking {
		x.looking = true
		x.look.Reset(signLook)
	}
	x.mu.Unlock()
	answered = x.answer(ctx, m, done, now)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.receiver != me {
		return answered, false
	}
	x.here = 0
	return answered, true
}

// lookAround has another goroutine receive, if the one that does has been answering
// the same call since the last look. Where nothing happened since then, it is the last.
func (x *signStream) lookAround() {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.here != 0 && x.here == x.seen:
		x.here = 0
		x.slow.Store(true)
		x.receiver++
		me := x.receiver
		x.running.Go(func() { x.receive(me) }) // the other one is counted still
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
