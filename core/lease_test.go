package core

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLeaseTellsOfItsResourceUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, end := range map[string]func(Lease[*thing]){
			"Release": Lease[*thing].Release,
			"Discard": func(l Lease[*thing]) { l.Discard(nil) },
			"Detach":  func(l Lease[*thing]) { l.Detach() },
		} {
			p := newThings(t, (&workshop{}).config(1))
			time.Sleep(time.Second)
			l := with(t, p, AcquireOptions{})
			time.Sleep(time.Minute)
			same := l // a copy is the same lease
			if same.Value() == nil || same.Value() != l.Value() || same.ID() != 1 || same.ResourceAge() != time.Minute {
				t.Errorf("a copy tells of %v, %d, %v", same.Value(), same.ID(), same.ResourceAge())
			}
			end(same)
			for _, l := range []Lease[*thing]{l, same} {
				if l.Value() != nil || l.ID() != 0 || l.ResourceAge() != 0 {
					t.Errorf("after %s a lease tells of %v, %d, %v", name, l.Value(), l.ID(), l.ResourceAge())
				}
			}
			again := with(t, p, AcquireOptions{})
			l.Release()
			l.Discard(nil)
			if _, err := same.Detach(); err != ErrReleased { //nolint:errorlint // nothing is wrapped round it
				t.Errorf("Detach after %s: %v, want ErrReleased", name, err)
			}
			if again.Value() == nil {
				t.Errorf("a stale lease ended the next one")
			}
			if s := p.Stats(); s.StaleReleases != 3 || s.Leased != 1 {
				t.Errorf("after %s: %d stale releases and %d leased, want 3 and 1", name, s.StaleReleases, s.Leased)
			}
			again.Release()
		}
	})
}

func TestZeroLeaseHasEnded(t *testing.T) {
	t.Parallel()
	var l Lease[*thing]
	l.Release()
	l.Discard(errors.New("no"))
	if res, err := l.Detach(); !errors.Is(err, ErrReleased) || res != nil {
		t.Errorf("Detach = %v, %v", res, err)
	}
	if l.Value() != nil || l.ID() != 0 || l.ResourceAge() != 0 {
		t.Error("a zero lease tells of a resource")
	}
}

func TestOneLeaseEndsOnceHoweverManyEndItConcurrentSafe(t *testing.T) {
	t.Parallel()
	for _, share := range []int{1, 3} {
		w := &workshop{}
		cfg := w.config(2)
		cfg.ShareLimit = share
		p := newThings(t, cfg)
		for range 100 {
			l := with(t, p, AcquireOptions{})
			var all sync.WaitGroup
			detached := make(chan *thing, 1)
			all.Go(l.Release)
			all.Go(func() { l.Discard(nil) })
			all.Go(func() {
				if res, err := l.Detach(); err == nil {
					detached <- res
				} else if !errors.Is(err, ErrReleased) {
					t.Error(err)
				}
			})
			all.Go(func() { l.Value(); l.ID(); l.ResourceAge() })
			all.Wait()
			select {
			case res := <-detached:
				if res.closed.Load() {
					t.Error("a detached resource was closed by the pool")
				}
				res.Close()
			default:
			}
		}
		if s := p.Stats(); s.Leased != 0 || s.Acquired != 100 || s.StaleReleases != 200 {
			t.Errorf("%d leased, %d acquired, %d stale; want 0, 100 and 200", s.Leased, s.Acquired, s.StaleReleases)
		}
	}
}

func TestDetachedResourceIsTheCallersAndItsPlaceIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.config(1)
		cfg.Min = 1
		p := newThings(t, cfg)
		l := with(t, p, AcquireOptions{})
		want := l.Value()
		waiter := ask(t.Context(), p, AcquireOptions{})
		res, err := l.Detach()
		if err != nil || res != want {
			t.Fatalf("Detach = %v, %v", res, err)
		}
		waiter.check(t, "who waited for a place", true)
		waiter.lease.Release()
		if err := p.Close(t.Context()); err != nil {
			t.Error("Close waits for a detached resource:", err)
		}
		if res.closed.Load() || w.alive.Load() != 1 {
			t.Error("the pool closed a detached resource")
		}
		if s := p.Stats(); s.Detached != 1 || s.Opened != 2 || s.Closed != 1 || s.Live != 0 {
			t.Errorf("%d detached, %d opened, %d closed, %d alive; want 1, 2, 1 and 0", s.Detached, s.Opened, s.Closed, s.Live)
		}
	})
}

func TestDetachNeedsToBeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := shared(t, 1, 2, 0)
		one, two := with(t, p, AcquireOptions{}), with(t, p, AcquireOptions{})
		if res, err := one.Detach(); err != ErrNotAlone || res != nil { //nolint:errorlint // nothing is wrapped round it
			t.Errorf("Detach beside another lease = %v, %v; want ErrNotAlone", res, err)
		}
		if one.Value() == nil || two.Value() == nil {
			t.Error("a refused Detach ended a lease")
		}
		waiter := ask(t.Context(), p, AcquireOptions{})
		two.Release()
		waiter.check(t, "a waiter, after the refused Detach", true)
		waiter.lease.Release()
		if res, err := one.Detach(); err != nil || res == nil || w.alive.Load() != 1 {
			t.Errorf("Detach when alone = %v, %v", res, err)
		}
		with(t, p, AcquireOptions{}).Release()
	})
}

func TestDetachOfAResourceThatRetiresWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		p := newThings(t, w.config(1))
		l := with(t, p, AcquireOptions{})
		p.Evict()
		if res, err := l.Detach(); err != nil || res.closed.Load() {
			t.Errorf("Detach = %v, %v", res, err)
		}
		with(t, p, AcquireOptions{}).Release()
		if s := p.Stats(); s.Live != 1 || s.Detached != 1 || s.Closed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

var errSick = errors.New("sick")

func TestDoReleasesOrDiscardsByWhatItsFunctionDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := errors.New("no such row")
		for name, c := range map[string]struct {
			fn     func() error
			err    error
			closed int
			panics any
		}{
			"nil":     {fn: func() error { return nil }},
			"error":   {fn: func() error { return other }, err: other},
			"broken":  {fn: func() error { return errSick }, err: errSick, closed: 1},
			"panic":   {fn: func() error { panic("boom") }, panics: "boom", closed: 1},
			"goexit":  {fn: func() error { runtime.Goexit(); return nil }, closed: 1},
			"nil fn":  {},
			"panic 0": {fn: func() error { panic(nil) }, panics: new(runtime.PanicNilError), closed: 1}, //nolint:govet // nil on purpose
		} {
			w := &workshop{}
			cfg := w.config(1)
			cfg.Broken = func(err error) bool { return errors.Is(err, errSick) }
			p := newThings(t, cfg)
			ctx := context.WithValue(t.Context(), nameKey{}, "mine")
			fn := func(ctx context.Context, res *thing) error {
				if res == nil || namesIn(ctx) != "mine" {
					t.Errorf("%s: called with %v and a context of %q", name, res, namesIn(ctx))
				}
				return c.fn()
			}
			if c.fn == nil {
				fn = nil
			}
			var err error
			var panics any
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				defer func() { panics = recover() }()
				err = p.Do(ctx, fn)
			}()
			<-ended
			synctest.Wait()
			if c.fn == nil {
				if err == nil || panics != nil {
					t.Errorf("Do without a function = %v, panic %v; want an error", err, panics)
				}
			} else if _, isNil := panics.(*runtime.PanicNilError); !errors.Is(err, c.err) || panics != c.panics && !isNil {
				t.Errorf("%s: Do = %v, panic %v", name, err, panics)
			}
			if s := p.Stats(); s.Leased != 0 || s.ClosedBy[ReasonBroken] != uint64(c.closed) || s.Closed != uint64(c.closed) {
				t.Errorf("%s: %d leased, %d closed as broken, %d closed", name, s.Leased, s.ClosedBy[ReasonBroken], s.Closed)
			}
			with(t, p, AcquireOptions{}).Release()
		}
	})
}

func TestDoReturnsTheErrorOfAcquireAndDoesNotCall(t *testing.T) {
	t.Parallel()
	p := newThings(t, (&workshop{}).config(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Do(ctx, func(context.Context, *thing) error { t.Error("called"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A lease that fn ends itself is not ended again by Do.
func TestDoWithAPredicateThatPanicsReleases(t *testing.T) {
	t.Parallel()
	cfg := (&workshop{}).config(1)
	cfg.Broken = func(error) bool { panic("do not ask") }
	p := newThings(t, cfg)
	if err := p.Do(t.Context(), func(context.Context, *thing) error { return errSick }); !errors.Is(err, errSick) {
		t.Error(err)
	}
	if s := p.Stats(); s.Leased != 0 || s.Panics != 1 || s.Closed != 0 {
		t.Errorf("%d leased, %d panics, %d closed", s.Leased, s.Panics, s.Closed)
	}
}

func TestKeyedDoDiscardsInTheKeysPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.Broken = func(err error) bool { return errors.Is(err, errSick) }
		k := newKeyed(t, cfg)
		use(t, k, "b")
		if err := k.Do(t.Context(), "a", func(_ context.Context, res *thing) error {
			if res.key != "a" {
				t.Error("called with a resource of key", res.key)
			}
			return errSick
		}); !errors.Is(err, errSick) {
			t.Error(err)
		}
		if err := k.Do(t.Context(), "a", nil); err == nil {
			t.Error("Do without a function went well")
		}
		a, _ := k.KeyStats("a")
		b, _ := k.KeyStats("b")
		if a.ClosedBy[ReasonBroken] != 1 || b.Closed != 0 {
			t.Errorf("closed: %d of a, %d of b", a.ClosedBy[ReasonBroken], b.Closed)
		}
	})
}
