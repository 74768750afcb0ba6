package host

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	probev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/probe/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

var _ probe.Prober = (*Prober)(nil)

// Prober is an instance of the kind probe, wherever it runs at the moment.
// Running.Probe makes one.
type Prober struct {
	running  *Running
	instance *instance
}

// Probe opens an instance of the kind probe. The prober calls only the methods that its
// target lists, whatever the plugin asks for. A probe is repeated once if the plugin is
// lost meanwhile, because what probes call is harmless.
func (r *Running) Probe(ctx context.Context, in Instance) (*Prober, error) {
	i, err := r.openAs(ctx, in, wire.KindProbe, func(field, problem string) error {
		return &probe.ConfigError{Field: field, Problem: problem}
	})
	if err != nil {
		return nil, err
	}
	return &Prober{running: r, instance: i}, nil
}

// Close ends the instance.
func (p *Prober) Close(ctx context.Context) error {
	return p.running.closeInstance(ctx, p.instance)
}

// Probe has the plugin look at a target.
func (p *Prober) Probe(ctx context.Context, target probe.Target) (probe.Verdict, error) {
	ctx, cancel := withDefaultDeadline(ctx, p.running.limits().Call)
	defer cancel()
	var verdict probe.Verdict
	about := target.Describe()
	err := p.running.call(ctx, "Probe", p.instance.name, func(ctx context.Context, proc *process) (err error) {
		verdict, err = p.probe(ctx, proc, target, about)
		return err
	})
	if err != nil {
		return probe.Verdict{}, err
	}
	return verdict, nil
}

func (p *Prober) probe(
	ctx context.Context, proc *process, target probe.Target, about probe.Description,
) (probe.Verdict, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := probev1.NewProbeServiceClient(proc.conn).Probe(ctx)
	if err != nil {
		return probe.Verdict{}, err
	}
	x := &probeStream{
		stream: stream, target: target, about: about, limit: proc.plugin.Limits.MessageBytes - wire.PartRoom,
		cancels: make(map[uint64]context.CancelFunc),
	}
	defer x.calls.Wait()
	defer cancel()
	_ = x.send(&probev1.ProbeRequest{Message: &probev1.ProbeRequest_Begin{ // Recv learns why not
		Begin: &probev1.Begin{Instance: p.instance.name, Target: wire.TargetTo(about)},
	}})
	for {
		m, err := stream.Recv()
		if err != nil {
			return probe.Verdict{}, err
		}
		switch m := m.GetMessage().(type) {
		case *probev1.ProbeResponse_Call:
			if err := x.call(ctx, m.Call); err != nil {
				return probe.Verdict{}, err
			}
		case *probev1.ProbeResponse_Cancel:
			x.cancel(m.Cancel.GetId())
		case *probev1.ProbeResponse_Done:
			if f := m.Done.GetFailure(); f != nil {
				return probe.Verdict{}, wire.FromFailure(f)
			}
			return wire.VerdictFrom(m.Done.GetVerdict()), nil
		}
	}
}

// probeStream makes the calls that the plugin asks for.
type probeStream struct {
	// Immutable after creation.
	stream grpc.BidiStreamingClient[probev1.ProbeRequest, probev1.ProbeResponse]
	target probe.Target
	about  probe.Description // what the plugin was told, so that it gets no more than that
	limit  int
	calls  sync.WaitGroup

	sending sync.Mutex // held while a message is sent

	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc // guarded by mu
}

func (x *probeStream) send(m *probev1.ProbeRequest) error {
	x.sending.Lock()
	defer x.sending.Unlock()
	return x.stream.Send(m)
}

func (x *probeStream) cancel(id uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if cancel := x.cancels[id]; cancel != nil {
		cancel()
	}
}

// call makes one call, in a goroutine of its own, and answers. What the plugin has
// running beyond wire.MaxCalls is answered with a failure.
func (x *probeStream) call(ctx context.Context, call *probev1.Call) error {
	var cancel context.CancelFunc
	if t := call.GetTimeout(); t != nil {
		ctx, cancel = context.WithTimeout(ctx, t.AsDuration())
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	x.mu.Lock()
	_, twice := x.cancels[call.GetId()]
	full := len(x.cancels) >= wire.MaxCalls
	if !twice && !full {
		x.cancels[call.GetId()] = cancel
	}
	x.mu.Unlock()
	switch {
	case twice: // an answer would be taken for that of the other
		cancel()
		return &Error{Message: fmt.Sprintf("the plugin made two calls with the id %d", call.GetId())}
	case full:
		cancel()
		failure := wire.Failure(fmt.Errorf("%d calls are under way, and no more are made at once", wire.MaxCalls))
		failure.MayHaveRun = false
		_ = x.send(&probev1.ProbeRequest{Message: &probev1.ProbeRequest_Result{Result: &probev1.CallResult{
			Id: call.GetId(), Outcome: &probev1.CallResult_Failure{Failure: failure},
		}}})
		return nil
	}
	x.calls.Go(func() {
		answer := x.ask(ctx, call)
		cancel()
		answer.Id = call.GetId()
		x.sending.Lock()
		defer x.sending.Unlock()
		x.mu.Lock()
		delete(x.cancels, call.GetId()) // not before: a plugin that reads no answers would never have too many
		x.mu.Unlock()
		_ = x.stream.Send(&probev1.ProbeRequest{Message: &probev1.ProbeRequest_Result{Result: answer}}) // a broken stream ends in Recv
	})
	return nil
}

func (x *probeStream) ask(ctx context.Context, call *probev1.Call) *probev1.CallResult {
	method := call.GetMethod()
	if !x.about.Lists(method) {
		return &probev1.CallResult{Outcome: &probev1.CallResult_NotListed{NotListed: &probev1.NotListed{}}}
	}
	value, err := x.guarded(ctx, method, call.GetParams())
	if err == nil && len(value) > x.limit {
		err = fmt.Errorf("the result of %s has %d bytes, and Limits.MessageBytes allows %d", wire.Clean(method, 64), len(value), x.limit)
	}
	var answered *probe.CallError
	switch {
	case err == nil:
		return &probev1.CallResult{Outcome: &probev1.CallResult_Value{Value: value}}
	case errors.Is(err, probe.ErrNotListed):
		return &probev1.CallResult{Outcome: &probev1.CallResult_NotListed{NotListed: &probev1.NotListed{}}}
	case errors.As(err, &answered):
		return &probev1.CallResult{Outcome: &probev1.CallResult_Error{Error: &probev1.CallError{
			Code: answered.Code, Message: wire.Clean(answered.Message, 4<<10),
		}}}
	}
	return &probev1.CallResult{Outcome: &probev1.CallResult_Failure{Failure: wire.Failure(err)}}
}

// guarded makes a call. A panic in it is in a goroutine that the caller of Probe
// cannot recover.
func (x *probeStream) guarded(ctx context.Context, method string, params []byte) (value []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the target panicked with a %T", v)
		}
	}()
	return x.target.Call(ctx, method, params)
}
