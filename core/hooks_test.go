package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// logbook writes down what hooks are told, in order.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (b *logbook) add(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, fmt.Sprintf(format, args...))
}

// since returns the lines written since it was last asked.
func (b *logbook) since() []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines = nil
	return lines
}

func (b *logbook) want(t *testing.T, what string, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, b.since()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// hooks are all there are. Those with a context write down what their Start has
// put into it.
func (b *logbook) hooks() Hooks {
	start := func(ctx context.Context, name string) context.Context {
		return context.WithValue(ctx, nameKey{}, name)
	}
	return Hooks{
		AcquireStart: func(ctx context.Context, e AcquireStart) context.Context {
			b.add("%+v", e)
			return start(ctx, "acquire")
		},
		AcquireEnd: func(ctx context.Context, e AcquireEnd) { b.add("%s %+v", namesIn(ctx), e) },
		Released:   func(e Released) { b.add("released %+v", e) },
		OpenStart: func(ctx context.Context, e OpenStart) context.Context {
			b.add("%+v", e)
			return start(ctx, "open")
		},
		OpenEnd: func(ctx context.Context, e OpenEnd) { b.add("%s %+v", namesIn(ctx), e) },
		CloseStart: func(ctx context.Context, e CloseStart) context.Context {
			b.add("%+v", e)
			return start(ctx, "close")
		},
		CloseEnd: func(ctx context.Context, e CloseEnd) { b.add("%s %+v", namesIn(ctx), e) },
		ProbeStart: func(ctx context.Context, e ProbeStart) context.Context {
			b.add("%+v", e)
			return start(ctx, "probe")
		},
		ProbeEnd:      func(ctx context.Context, e ProbeEnd) { b.add("%s %+v", namesIn(ctx), e) },
		CircuitOpened: func(e CircuitOpened) { b.add("circuit opened: %v, next after %v", e.Cause, time.Until(e.Next)) },
		CircuitClosed: func(e CircuitClosed) { b.add("circuit closed %+v", e) },
		Resized:       func(e Resized) { b.add("resized %+v", e) },
		Degraded:      func(e Degraded) { b.add("degraded %+v", e) },
		Recovered:     func(e Recovered) { b.add("recovered %+v", e) },
		Leaked:        func(e Leaked) { b.add("leaked %d after %v, stack %v", e.ID, e.Held, e.Stack != "") },
		Panicked:      func(e Panicked) { b.add("panicked %+v", e) },
	}
}

func TestHooksTellTheLifeOfALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := &logbook{}, &workshop{delay: time.Second}
		cfg := w.config(1)
		cfg.Name, cfg.Hooks = "db", b.hooks()
		p := newThings(t, cfg)
		l := with(t, p, AcquireOptions{})
		b.want(t, "the first Acquire",
			"{Pool:db}", "{Pool:db Attempt:1 Trial:false}", "open {Pool:db ID:1 Attempt:1 Duration:1s Err:<nil>}",
			"acquire {Pool:db ID:1 Wait:1s Err:<nil>}")
		time.Sleep(3 * time.Second)
		next := ask(t.Context(), p, AcquireOptions{})
		time.Sleep(2 * time.Second)
		b.want(t, "one that waits", "{Pool:db}")
		l.Release()
		lines := b.since() // two goroutines
		slices.Sort(lines)
		if diff := cmp.Diff([]string{
			"acquire {Pool:db ID:1 Wait:2s Err:<nil>}", "released {Pool:db ID:1 Held:5s}",
		}, lines); diff != "" {
			t.Errorf("handed over (-want +got):\n%s", diff)
		}
		l.Release()
		b.want(t, "a stale release")
		time.Sleep(time.Second)
		next.lease.Release()
		b.want(t, "a release", "released {Pool:db ID:1 Held:1s}")
		l = with(t, p, AcquireOptions{})
		b.want(t, "an Acquire at once", "{Pool:db}", "acquire {Pool:db ID:1 Wait:0s Err:<nil>}")
		_, err := p.AcquireWith(t.Context(), AcquireOptions{NoWait: true})
		b.want(t, "one that fails", "{Pool:db}", fmt.Sprintf("acquire {Pool:db ID:0 Wait:0s Err:%v}", err))
		l.Discard(errors.New("worn out"))
		b.want(t, "a Discard", "released {Pool:db ID:1 Held:0s}",
			"{Pool:db ID:1 Reason:discarded Cause:worn out}",
			"close {Pool:db ID:1 Reason:discarded Cause:worn out Age:6s Duration:0s Err:<nil>}")
		l = with(t, p, AcquireOptions{})
		b.since()
		if _, err := l.Detach(); err != nil {
			t.Error(err)
		}
		b.want(t, "a Detach", "released {Pool:db ID:2 Held:0s}")
	})
}

// A caller whose context ends in the moment it is served gets nothing, so it does
// not release anything either.
func TestReleasedIsNotToldOfALeaseThatNobodyHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := &logbook{}, &workshop{}
		cfg := w.config(1)
		cfg.Hooks.Released = b.hooks().Released
		p := newThings(t, cfg)
		l := with(t, p, AcquireOptions{})
		ctx := &lateContext{Context: t.Context()}
		late := ask(ctx, p, AcquireOptions{})
		ctx.ended = true
		l.Release()
		synctest.Wait()
		if !errors.Is(late.err, context.Canceled) {
			t.Errorf("an ended context got %v", late.err)
		}
		b.want(t, "the lease of the first, and no other", "released {Pool:pool ID:1 Held:0s}")
	})
}

// lateContext has ended, but has not told so yet.
type lateContext struct {
	context.Context
	ended bool
}

func (c *lateContext) Done() <-chan struct{} { return make(chan struct{}) }

func (c *lateContext) Err() error {
	if c.ended {
		return context.Canceled
	}
	return nil
}

func TestHooksFrameTheCallbacksAndCarryTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := &logbook{}, &workshop{}
		cfg := w.config(1)
		cfg.Hooks = b.hooks()
		fail := errors.New("no good")
		cfg.Open = func(ctx context.Context) (*thing, error) {
			b.add("Open in %s", namesIn(ctx))
			if w.calls.Load() == 0 {
				w.calls.Add(1)
				return nil, fail
			}
			return w.open(ctx, "")
		}
		cfg.OpenRetries, cfg.RetryMin, cfg.RetryMax = 1, time.Second, time.Second
		cfg.Warmup = func(ctx context.Context, _ *thing) error { b.add("Warmup in %s", namesIn(ctx)); return nil }
		cfg.ProbeInterval = time.Minute
		cfg.Probe = func(ctx context.Context, _ *thing) error { b.add("Probe in %s", namesIn(ctx)); return fail }
		cfg.Close = func(ctx context.Context, res *thing) error { b.add("Close in %s", namesIn(ctx)); return fail }
		p := newThings(t, cfg)
		with(t, p, AcquireOptions{}).Release()
		b.want(t, "opening", "{Pool:pool}",
			"{Pool:pool Attempt:1 Trial:false}", "Open in open", "open {Pool:pool ID:0 Attempt:1 Duration:0s Err:no good}",
			"{Pool:pool Attempt:2 Trial:false}", "Open in open", "Warmup in open", "open {Pool:pool ID:1 Attempt:2 Duration:0s Err:<nil>}",
			"acquire {Pool:pool ID:1 Wait:1s Err:<nil>}", "released {Pool:pool ID:1 Held:0s}")
		time.Sleep(80 * time.Second)
		lines := b.since()
		want := []string{
			"{Pool:pool ID:1}", "Probe in probe", "probe {Pool:pool ID:1 Duration:0s Err:no good}",
			"{Pool:pool ID:1 Reason:probe_failed Cause:no good}", "Close in close",
		}
		if diff := cmp.Diff(want, lines[:5]); diff != "" || len(lines) != 6 {
			t.Errorf("a failed probe (-want +got):\n%s\n%v", diff, lines)
		}
	})
}

func TestHooksTellTheChangesOfStateInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := &logbook{}, &workshop{}
		cfg := w.config(3)
		h := b.hooks()
		cfg.Hooks = Hooks{
			CircuitOpened: h.CircuitOpened, CircuitClosed: h.CircuitClosed, Resized: h.Resized,
			Degraded: h.Degraded, Recovered: h.Recovered, Leaked: h.Leaked, Panicked: h.Panicked,
		}
		cfg.Min, cfg.Degrade, cfg.LeakAfter, cfg.Stacks = 1, true, time.Minute, true
		cfg.CircuitFailures, cfg.CircuitMin, cfg.CircuitMax = 2, time.Second, time.Second
		cfg.RetryMin, cfg.RetryMax = time.Millisecond, time.Millisecond
		w.refuse("", errUnreachable)
		p := newThings(t, cfg)
		b.want(t, "a failed warm-up", "degraded {Pool:pool Cause:"+errUnreachable.Error()+"}")
		time.Sleep(time.Millisecond)
		b.want(t, "another failure", "circuit opened: "+errUnreachable.Error()+", next after 1s")
		w.refuse("", nil)
		time.Sleep(2 * time.Second)
		b.want(t, "a good trial", "circuit closed {Pool:pool}", "recovered {Pool:pool}")
		if err := p.Resize(t.Context(), 2, 5); err != nil {
			t.Error(err)
		}
		b.want(t, "a Resize", "resized {Pool:pool OldMin:1 OldMax:3 Min:2 Max:5}")
		l := with(t, p, AcquireOptions{})
		time.Sleep(2 * time.Minute)
		if lines := b.since(); len(lines) != 1 {
			t.Errorf("a leak was reported as %q", lines)
		}
		l.Release()
		if s := p.Stats(); s.Leaks != 1 {
			t.Errorf("%d leaks, want 1", s.Leaks)
		}
	})
}

func TestAnEvictionTellsItsCause(t *testing.T) {
	t.Parallel()
	moved := errors.New("the server has moved")
	ends := make(chan CloseEnd, 4)
	cfg := Config[*part]{
		Open:  func(context.Context) (*part, error) { return &part{}, nil },
		Hooks: Hooks{CloseEnd: func(_ context.Context, e CloseEnd) { ends <- e }},
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKeyed(KeyedConfig[string, *part]{Pool: Config[*part]{Hooks: cfg.Hooks}, Open: func(context.Context, string) (*part, error) { return &part{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		acquire func() (Lease[*part], error)
		evict   func()
		want    error
	}{
		{func() (Lease[*part], error) { return p.Acquire(t.Context()) }, func() { p.EvictFor(moved) }, moved},
		{func() (Lease[*part], error) { return p.Acquire(t.Context()) }, p.Evict, nil},
		{func() (Lease[*part], error) { return k.Acquire(t.Context(), "a") }, func() { k.EvictFor("a", moved) }, moved},
		{func() (Lease[*part], error) { return k.Acquire(t.Context(), "a") }, func() { k.Evict("a") }, nil},
	} {
		l, err := step.acquire()
		if err != nil {
			t.Fatal(err)
		}
		step.evict()
		l.Release()
		if e := <-ends; e.Reason != ReasonEvicted || !errors.Is(e.Cause, step.want) {
			t.Errorf("%+v, want the cause %v", e, step.want)
		}
	}
	if err := errors.Join(p.Close(t.Context()), k.Close(t.Context())); err != nil {
		t.Error(err)
	}
}
