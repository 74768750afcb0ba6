package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/probe"
)

// Probe checks that the probers of a factory keep the contract of package probe. It is
// in process: the factory is what sdk.Probe takes. The targets are made of the one in
// the options: they count, answer nonsense, and hang.
func Probe[C any, P probe.Prober](t *testing.T, open func(ctx context.Context, cfg C) (P, error), opts ProbeOptions[C]) {
	t.Helper()
	runAll(t, probeInProcess(open, opts))
}

// probeInProcess lists the checks of Probe.
func probeInProcess[C any, P probe.Prober](
	open func(ctx context.Context, cfg C) (P, error), opts ProbeOptions[C],
) []check {
	s := newProbeSuite(opts)
	s.open = factoryOf[probe.Prober](open)
	return append(s.contract(), s.check("Printing", s.printing), s.check("Goroutines", s.goroutines))
}

// probeSuite checks probers, wherever they run.
type probeSuite[C any] struct {
	suite

	opts ProbeOptions[C]
	open factory[C, probe.Prober]
}

func newProbeSuite[C any](opts ProbeOptions[C]) *probeSuite[C] {
	opts = opts.withDefaults()
	return &probeSuite[C]{suite: suite{opts.Patience, opts.lull, newSecrets(opts.Secrets)}, opts: opts}
}

// contract lists the checks that hold in process and through a host.
func (s *probeSuite[C]) contract() []check {
	return []check{
		s.check("Verdict", s.verdict),
		s.check("Verdicts", s.verdicts),
		s.check("Unlisted", s.unlisted),
		s.check("Hostile", s.hostile),
		s.check("Late", s.late),
		s.check("Failures", s.failures),
		s.check("Cancellation", func(r *report) { s.ending(r, context.Canceled) }),
		s.check("Deadline", func(r *report) { s.ending(r, context.DeadlineExceeded) }),
		s.check("Alone", s.alone),
		s.check("Concurrent", s.concurrent),
		s.check("Close", s.closing),
	}
}

// use makes a prober that is closed at the end of the check.
func (s *probeSuite[C]) use(r *report, cfg C) *prober {
	r.Helper()
	p, err := s.open.make(r, cfg)
	if err != nil {
		r.Fatalf("the factory: %v", err)
	}
	u := s.prober(r, p)
	r.Cleanup(func() {
		if !u.closed {
			ctx, cancel := short()
			defer cancel()
			_ = u.Close(ctx)
		}
	})
	return u
}

// prober looks at each call of a prober.
func (s *probeSuite[C]) prober(r *report, p probe.Prober) *prober { return &prober{r: r, p: p} }

// prober is a prober, each call of which is looked at.
type prober struct {
	r      *report
	p      probe.Prober
	closed bool
}

// Probe probes, and checks the verdict.
func (u *prober) Probe(ctx context.Context, target *target) (probe.Verdict, error) {
	v, err := u.p.Probe(ctx, target)
	target.over.Store(true)
	if now := target.About; !reflect.DeepEqual(cloneAbout(now), target.before) {
		u.r.faultf("Probe changed the description of its target, which is read-only")
	}
	u.r.inspectError("Probe", err)
	u.r.inspect("the reason of the verdict", v.Reason)
	switch {
	case v.Status > probe.Unhealthy:
		u.r.faultf("Probe returned %v, which is no verdict", v.Status)
	case !isLine(v.Reason):
		u.r.faultf("Probe gave a reason that is not one line for a log: %.200q", v.Reason)
	case strings.Contains(v.Reason, marker):
		u.r.faultf("the reason of the verdict holds data of the resource")
	case v.Reason == "" && err == nil && v.Status != probe.Healthy:
		u.r.faultf("Probe returned %v and gave no reason", v.Status)
	case errors.Is(err, context.Canceled) && ctx.Err() == nil:
		u.r.faultf("Probe returned context.Canceled, and its context has not ended")
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) && err == nil && v.Status == probe.Unhealthy:
		u.r.faultf("Probe whose context was cancelled condemned its target, which has nothing to do with it: %s", v.Reason)
	}
	return v, err
}

// Close closes the prober, if it can be.
func (u *prober) Close(ctx context.Context) error {
	u.closed = true
	c, ok := u.p.(closer)
	if !ok {
		return nil
	}
	var err error
	if !u.r.within("Close", func() { err = c.Close(ctx) }) {
		return nil // reported
	}
	u.r.inspectError("Close", err)
	return err
}

// marker is data of a resource.
const marker = "plugintest-data-4711"

// target is a Target that looks at who calls it.
type target struct {
	Target

	r      *report
	before probe.Description
	over   atomic.Bool // the probe has ended
	calls  atomic.Int64
	called chan struct{} // a token for each call, as far as there is room
}

func newTarget(r *report, t Target) *target {
	t.About = cloneAbout(t.About)
	return &target{Target: t, r: r, before: cloneAbout(t.About), called: make(chan struct{}, 100)}
}

func cloneAbout(d probe.Description) probe.Description {
	d.Methods, d.Attrs = slices.Clone(d.Methods), maps.Clone(d.Attrs)
	return d
}

// Describe returns what the target says of itself.
func (t *target) Describe() probe.Description { return t.About }

// Call answers, and reports calls that should not come.
func (t *target) Call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	t.calls.Add(1)
	select {
	case t.called <- struct{}{}:
	default:
	}
	switch {
	case t.over.Load():
		t.r.faultf("Probe called %q after it had returned", method)
	case !t.before.Lists(method):
		t.r.faultf("Probe called %q, which its target does not list", method)
		return nil, fmt.Errorf("%w: %q", probe.ErrNotListed, method)
	case len(params) > 0 && !json.Valid(params):
		t.r.faultf("Probe called %q with params that are no JSON", method)
	}
	return t.Answer(ctx, method, params)
}

// probeField is the field that a configuration error of this kind names.
func probeField(err error) (string, bool) {
	e, ok := err.(*probe.ConfigError) //nolint:errorlint // faulty unwraps
	if !ok {
		return "", false
	}
	return e.Field, true
}
