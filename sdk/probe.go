package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	probev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/probe/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// Probe makes a plugin of a factory of probers. The factory is called once per
// instance, for several at once perhaps, with a context that ends with the call. If the
// prober has a method Close(context.Context) error, it is called when the instance ends.
func Probe[C any, P probe.Prober](factory func(ctx context.Context, cfg C) (P, error)) Kind {
	return Kind{impl: &probeKind[C, P]{newMaker(wire.KindProbe, "Probe", factory)}}
}

type probeKind[C any, P probe.Prober] struct{ maker[C, P] }

func (k *probeKind[C, P]) register(srv *grpc.Server, set *instances) {
	probev1.RegisterProbeServiceServer(srv, &probeServer{set: set})
}

// probeServer serves the instances of the kind probe.
type probeServer struct {
	probev1.UnimplementedProbeServiceServer

	set *instances
}

type probeStream = grpc.BidiStreamingServer[probev1.ProbeRequest, probev1.ProbeResponse]

// Probe runs one probe; the stream is its target.
func (s *probeServer) Probe(stream probeStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	begin := first.GetBegin()
	if begin == nil {
		return errFirstMessage
	}
	prober, _, end, err := valueOf[probe.Prober](s.set, begin.GetInstance(), wire.KindProbe)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithCancel(withTrace(stream.Context()))
	defer cancel()
	target := &remoteTarget{
		ctx: ctx, stream: stream, about: wire.TargetFrom(begin.GetTarget()),
		calls: make(map[uint64]chan *probev1.CallResult), room: make(chan struct{}, wire.MaxCalls),
	}
	go func() { // ends with the stream, when this method returns
		for {
			m, err := stream.Recv()
			if err != nil {
				if stream.Context().Err() == nil { // else that tells the prober, and why
					cancel()
				}
				return
			}
			target.deliver(m.GetResult())
		}
	}()
	var verdict probe.Verdict
	err = guard("Probe", func() (err error) { verdict, err = prober.Probe(ctx, target); return err })
	done := &probev1.Done{Outcome: &probev1.Done_Verdict{Verdict: wire.VerdictTo(verdict)}}
	if err != nil {
		done.Outcome = &probev1.Done_Failure{Failure: wire.Failure(err)}
	}
	return target.finish(&probev1.ProbeResponse{Message: &probev1.ProbeResponse_Done{Done: done}})
}

var _ probe.Target = (*remoteTarget)(nil)

// remoteTarget is a target at the host.
type remoteTarget struct {
	ctx    context.Context //nolint:containedctx // of the probe, which is all that it lives for
	stream probeStream
	about  probe.Description
	room   chan struct{} // a place for each call that the host has not answered

	sending sync.Mutex // held while a message is sent
	over    bool       // guarded by sending

	mu    sync.Mutex
	last  uint64                              // guarded by mu
	calls map[uint64]chan *probev1.CallResult // guarded by mu; one place each
}

func (t *remoteTarget) Describe() probe.Description { return t.about }

// Call has the host make a call. It waits while wire.MaxCalls are under way.
func (t *remoteTarget) Call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	if !t.about.Lists(method) { // the host would say the same
		return nil, fmt.Errorf("%w: %q", probe.ErrNotListed, method)
	}
	if n, limit := len(params), messageLimit()-wire.PartRoom; n > limit {
		return nil, fmt.Errorf("sdk: the params of %s have %d bytes, at most %d are allowed", method, n, limit)
	}
	select {
	case t.room <- struct{}{}: // until the answer comes, whoever waits for it: the host counts too
	case <-t.ctx.Done():
		return nil, context.Cause(t.ctx)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	answer := make(chan *probev1.CallResult, 1)
	t.mu.Lock()
	t.last++
	call := &probev1.Call{Id: t.last, Method: method, Params: params}
	t.calls[call.GetId()] = answer
	t.mu.Unlock()
	if deadline, ok := ctx.Deadline(); ok {
		call.Timeout = durationpb.New(max(time.Until(deadline), 0))
	}
	if err := t.send(&probev1.ProbeResponse{Message: &probev1.ProbeResponse_Call{Call: call}}); err != nil {
		return nil, err
	}
	select {
	case m := <-answer:
		return result(method, m)
	case <-t.ctx.Done():
		return nil, context.Cause(t.ctx)
	case <-ctx.Done():
		_ = t.send(&probev1.ProbeResponse{Message: &probev1.ProbeResponse_Cancel{Cancel: &probev1.Cancel{Id: call.GetId()}}})
		return nil, context.Cause(ctx)
	}
}

func result(method string, m *probev1.CallResult) (json.RawMessage, error) {
	switch o := m.GetOutcome().(type) {
	case *probev1.CallResult_Value:
		return o.Value, nil
	case *probev1.CallResult_Error:
		return nil, &probe.CallError{Method: method, Code: o.Error.GetCode(), Message: o.Error.GetMessage()}
	case *probev1.CallResult_NotListed:
		return nil, fmt.Errorf("%w: %q", probe.ErrNotListed, method)
	default:
		e := wire.FromFailure(m.GetFailure())
		e.Plugin, e.Method = "host", method
		return nil, e
	}
}

func (t *remoteTarget) deliver(m *probev1.CallResult) {
	t.mu.Lock()
	answer := t.calls[m.GetId()]
	delete(t.calls, m.GetId())
	t.mu.Unlock()
	if answer != nil {
		answer <- m
		<-t.room
	}
}

func (t *remoteTarget) send(m *probev1.ProbeResponse) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	if t.over {
		return fmt.Errorf("sdk: the probe is over, and its target with it: %w", context.Canceled)
	}
	return t.stream.Send(m)
}

// finish sends the last message. A prober that kept its target cannot send after it.
func (t *remoteTarget) finish(m *probev1.ProbeResponse) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	t.over = true
	return t.stream.Send(m)
}
