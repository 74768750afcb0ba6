package core

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestResetRunsAfterTheLastLeaseOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var resets atomic.Int32
		cfg := Config[*part]{Max: 1, ShareLimit: 3, Reset: func(context.Context, *part) error { resets.Add(1); return nil }}
		s := setStage(t, cfg, nil)
		ls := s.leases(3)
		for i, l := range ls {
			same(t, "resets", resets.Load(), int32(0))
			l.Release()
			synctest.Wait()
			same(t, "resets", resets.Load(), int32(i/2))
			l.Release() // a second time is nothing
		}
		same(t, "resets", s.Stats().Resets, uint64(1))
		same(t, "stale", s.Stats().StaleReleases, uint64(3))
	})
}

func TestAWaiterIsServedAfterTheReset(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{Max: 1, Reset: func(context.Context, *part) error { time.Sleep(time.Second); return nil }}
		s := setStage(t, cfg, nil)
		l := s.lease()
		first, second := s.claim(t.Context()), s.claim(t.Context())
		l.Release()
		same(t, "the releaser's time", s.at(), 0*time.Second)
		synctest.Wait()
		same(t, "state", s.Snapshot()[0].State, StateBusy)
		s.until(time.Second)
		first.got(t).Release()
		s.until(2 * time.Second)
		same(t, "when it was served", second.at, 2*time.Second)
		same(t, "resource", second.got(t).ID(), uint64(1))
		second.lease.Release()
		s.until(4 * time.Second)
	})
}

func TestAFailedResetRetiresTheResourceAndTheWaiterGetsAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{Max: 1, Reset: func(_ context.Context, p *part) error {
			if p.id == 1 {
				return errBroken
			}
			return nil
		}}
		causes := make(chan error, 9)
		cfg.Hooks.CloseEnd = func(_ context.Context, e CloseEnd) { causes <- e.Cause }
		s := setStage(t, cfg, nil)
		l := s.lease()
		c := s.claim(t.Context())
		l.Release()
		synctest.Wait()
		same(t, "resource", c.got(t).ID(), uint64(2))
		same(t, "closed", s.Stats().ClosedBy[ReasonReset], uint64(1))
		is(t, <-causes, errBroken)
		c.lease.Release()
	})
}

func TestAResetEndsAtResetTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{Reset: func(ctx context.Context, _ *part) error { <-ctx.Done(); return ctx.Err() }}
		s := setStage(t, cfg, nil)
		s.lease().Release()
		s.until(5*time.Second - 1)
		same(t, "closed", s.Stats().Closed, uint64(0))
		s.until(5 * time.Second)
		same(t, "closed", s.Stats().ClosedBy[ReasonReset], uint64(1))
	})
}

func TestWhatIsDiscardedIsNotReset(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Reset: func(context.Context, *part) error { return nil }}, nil)
		s.lease().Discard(nil)
		l := s.lease()
		s.Evict()
		l.Release()
		if _, err := s.lease().Detach(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		same(t, "resets", s.Stats().Resets, uint64(0))
	})
}

func TestAResetUnderWayEndsWhenThePoolCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{Reset: func(ctx context.Context, _ *part) error { <-ctx.Done(); return ctx.Err() }}
		s := setStage(t, cfg, nil)
		s.lease().Release()
		s.until(time.Second)
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		same(t, "time it took", s.at(), time.Second)
		same(t, "closed", s.Stats().ClosedBy[ReasonClosed], uint64(1))
	})
}

func TestWhatIsBeingResetIsNeitherProbedNorTrimmed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{
			ResetTimeout: time.Hour, MaxIdleTime: time.Minute, MaxLifetime: Off,
			Reset: func(context.Context, *part) error { time.Sleep(30 * time.Minute); return nil },
			Probe: func(context.Context, *part) error { return nil },
		}
		s := setStage(t, cfg, nil)
		s.lease().Release()
		s.until(20 * time.Minute)
		same(t, "probes and closes", s.Stats().Probes+s.Stats().Closed, uint64(0))
		s.until(40 * time.Minute)
		same(t, "trimmed after it", s.Stats().ClosedBy[ReasonIdle], uint64(1))
	})
}

// ableRes has the optional abilities.
type ableRes struct {
	part
	probed, reset atomic.Int32
}

func (a *ableRes) Probe(context.Context) error { a.probed.Add(1); return nil }
func (a *ableRes) Reset(context.Context) error { a.reset.Add(1); return nil }

func TestProbeAndResetAreFoundByInterfaceAndOverriddenByConfig(t *testing.T) {
	t.Run("by type", func(t *testing.T) { testAbilities[*ableRes](t, func(r *ableRes) *ableRes { return r }) })
	t.Run("behind an interface", func(t *testing.T) { testAbilities[Resource](t, func(r *ableRes) Resource { return r }) })
}

func testAbilities[T Resource](t *testing.T, as func(*ableRes) T) {
	t.Helper()
	for _, override := range []bool{false, true} {
		t.Run(fmt.Sprintf("override %v", override), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				res := &ableRes{}
				var probed, reset atomic.Int32
				cfg := Config[T]{Open: func(context.Context) (T, error) { return as(res), nil }}
				if override {
					cfg.Probe = func(context.Context, T) error { probed.Add(1); return nil }
					cfg.Reset = func(context.Context, T) error { reset.Add(1); return nil }
				}
				p, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close(context.Background())
				l, err := p.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				l.Release()
				time.Sleep(45 * time.Second)
				synctest.Wait()
				want := []int32{1, 1, 0, 0}
				if override {
					want = []int32{0, 0, 1, 1}
				}
				same(t, "probes and resets", []int32{res.probed.Load(), res.reset.Load(), probed.Load(), reset.Load()}, want)
			})
		})
	}
}

func TestAnInterfaceThatHidesNoAbilitiesIsNeitherProbedNorReset(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, err := New(Config[Resource]{Open: func(context.Context) (Resource, error) { return &part{}, nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
		time.Sleep(5 * time.Minute)
		same(t, "probes and resets", p.Stats().Probes+p.Stats().Resets, uint64(0))
	})
}
