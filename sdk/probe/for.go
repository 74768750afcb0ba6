package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// VerdictError is a verdict other than Healthy, as an error. Package core looks
// for its methods Degraded and Unknown; everything else condemns the resource.
type VerdictError struct {
	Verdict Verdict
	// Err is the prober's own failure, nil if it did not fail.
	Err error
}

func (e *VerdictError) Error() string {
	s := "probe: " + e.Verdict.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the prober's failure.
func (e *VerdictError) Unwrap() error { return e.Err }

// Degraded tells whether the resource is to be kept but not preferred.
func (e *VerdictError) Degraded() bool { return e.Verdict.Status == Degraded }

// Unknown tells whether nothing was found out.
func (e *VerdictError) Unknown() bool {
	return e.Verdict.Status != Degraded && e.Verdict.Status != Unhealthy
}

// For returns a function for core.Config.Probe, and everything of that shape: it
// has prober look at what describe makes of a resource. Nil means healthy; every
// other verdict is a *VerdictError.
//
// A panic in prober or describe is recovered and, like an error, means that nothing
// was found out. The target's calls end with the probe: later ones fail.
func For[T any](prober Prober, describe func(res T) Target) func(ctx context.Context, res T) error {
	return func(ctx context.Context, res T) error {
		v, err := look(ctx, prober, func() Target { return describe(res) })
		switch {
		case err != nil:
			return &VerdictError{Verdict: Verdict{Status: Unknown, Reason: "the prober failed"}, Err: err}
		case v.Status == Healthy:
			return nil
		}
		return &VerdictError{Verdict: v}
	}
}

// ErrNil reports a nil Prober, describe function or Target.
var ErrNil = errors.New("probe: the prober or the target is nil")

// look has the prober look at one target.
func look(ctx context.Context, prober Prober, describe func() Target) (v Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	if prober == nil {
		return v, ErrNil
	}
	target := describe()
	if target == nil {
		return v, ErrNil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := &gate{target: target, ctx: ctx}
	defer g.over.Store(true)
	return prober.Probe(ctx, g)
}

// gate lets a prober call what the target lists, for as long as the probe runs.
type gate struct {
	target Target
	ctx    context.Context //nolint:containedctx // of the probe, which is all that the gate lives for
	over   atomic.Bool
}

var errOver = errors.New("probe: the probe is over, and its target with it")

func (g *gate) Describe() Description { return g.target.Describe() }

func (g *gate) Call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	if g.over.Load() {
		return nil, errOver
	}
	if !g.target.Describe().Lists(method) {
		return nil, fmt.Errorf("%w: %q", ErrNotListed, method)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	return g.target.Call(ctx, method, params)
}

// PanicError is a recovered panic of a prober. Its text leaves out the value,
// which may hold anything.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("probe: the prober panicked with a %T", e.Value)
}
