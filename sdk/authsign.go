package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// Sign answers each request of the stream in a goroutine of its own, so that a slow
// one stands in nobody's way.
func (s *authServer) Sign(stream grpc.BidiStreamingServer[authv1.SignRequest, authv1.SignResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	x := &signStream{server: s, stream: stream, cancels: make(map[uint64]context.CancelFunc), ended: make(chan error, 1)}
	defer x.running.Wait()
	defer cancel()
	x.running.Go(func() { x.receive(ctx) })
	return <-x.ended
}

// receive takes messages until there is a call. It has another goroutine go on and
// answers the call itself: what was just received need not wait for a goroutine.
func (x *signStream) receive(ctx context.Context) {
	for {
		m, err := x.stream.Recv()
		if errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			switch {
			case m.GetCancel() != nil:
				x.cancel(m.GetId())
			case m.GetObservation() != nil: // takes note in memory and returns
				_ = guard("Observe", func() error { return x.server.observe(m.GetObservation()) })
			case m.GetCall() != nil:
				x.answer(ctx, m.GetId(), m.GetCall())
				return
			}
			continue
		}
		x.ended <- err
		return
	}
}

// signStream is one open stream.
type signStream struct {
	server  *authServer
	stream  grpc.BidiStreamingServer[authv1.SignRequest, authv1.SignResponse]
	running sync.WaitGroup
	ended   chan error // one place; why nothing is received any more

	sending sync.Mutex // held while a message is sent

	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc // guarded by mu; of the calls that run
}

func (x *signStream) cancel(id uint64) {
	x.mu.Lock()
	cancel := x.cancels[id]
	x.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// answer answers a call, and has the next ones received meanwhile.
func (x *signStream) answer(ctx context.Context, id uint64, call *authv1.SignCall) {
	var called context.Context
	var cancel context.CancelFunc
	if t := call.GetTimeout(); t != nil {
		called, cancel = context.WithTimeout(ctx, t.AsDuration())
	} else {
		called, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	x.mu.Lock()
	x.cancels[id] = cancel // before anything else is received
	x.mu.Unlock()
	x.running.Go(func() { x.receive(ctx) })
	answer := &authv1.SignResponse{Id: id}
	var sig auth.Signature
	err := guard("Sign", func() (err error) {
		sig, err = x.server.sign(withTraceparent(called, call.GetTraceparent()), call)
		return err
	})
	if err != nil {
		answer.Message = &authv1.SignResponse_Failure{Failure: wire.Failure(err)}
	} else {
		answer.Message = &authv1.SignResponse_Signature{Signature: wire.SignatureTo(sig)}
	}
	x.mu.Lock()
	delete(x.cancels, id)
	x.mu.Unlock()
	x.sending.Lock()
	defer x.sending.Unlock()
	_ = x.stream.Send(answer) // a stream that is broken ends in Recv
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
