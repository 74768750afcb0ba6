package core

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// aging has a lifetime of 10 min and a window of a minute: sweeps every 10 s.
func aging(cfg Config[*part]) Config[*part] {
	cfg.MaxLifetime, cfg.RecycleWindow, cfg.MaxIdleTime = 10*time.Minute, time.Minute, Off
	cfg.MaxOpening = Off
	return cfg
}

func TestResourcesAreRecycledInTheWindowBeforeTheirJitteredLifetime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, aging(Config[*part]{Min: 1}), nil)
		s.until(10 * time.Hour)
		ends := s.ends()
		if len(ends) < 60 || len(ends) > 76 {
			t.Errorf("%d closed in 10 h", len(ends))
		}
		for _, e := range ends {
			// 9 to 10 min, less a minute, and the sweep that sees it.
			between(t, "age", e.at-e.part.opened, 8*time.Minute, 9*time.Minute+10*time.Second)
		}
		same(t, "expired", s.Stats().ClosedBy[ReasonExpired], uint64(len(ends)))
	})
}

// Jitter truncated to whole seconds (pgxpool), jitter drawn anew at each return (vitess).
func TestTheJitterOfALifetimeIsDrawnOnceAndInNanoseconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, aging(Config[*part]{Min: 100, Max: 100, MaxLifetime: time.Hour}), nil)
		synctest.Wait()
		lifetimes := func() (all []time.Duration) {
			for _, slot := range s.slots() {
				all = append(all, slot.res.Load().lifetime)
			}
			return all
		}
		drawn := lifetimes()
		whole, distinct := 0, make(map[time.Duration]bool)
		low, high := drawn[0], drawn[0]
		for _, d := range drawn {
			between(t, "a lifetime", d, 9*time.Minute, 10*time.Minute)
			distinct[d] = true
			if d%time.Microsecond == 0 {
				whole++
			}
			low, high = min(low, d), max(high, d)
		}
		if whole > 5 || len(distinct) < 95 || high-low < 40*time.Second {
			t.Errorf("%d whole, %d distinct, from %v to %v", whole, len(distinct), low, high)
		}
		for range 5 {
			for _, l := range s.leases(100) {
				l.Release()
			}
			s.pass(time.Minute)
		}
		same(t, "lifetimes after some use", lifetimes(), drawn)
	})
}

func TestTheReplacementComesFirstWhereThereIsRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, aging(Config[*part]{Min: 1, Max: 2}), func(ctx context.Context, _ int) error {
			return pause(ctx, 3*time.Second)
		})
		s.until(3 * time.Second)
		l := s.lease()
		for s.at() < 12*time.Minute {
			s.pass(time.Second)
			if s.Stats().Live == 0 {
				t.Fatalf("nothing is alive at %v", s.at())
			}
		}
		same(t, "opened", s.Stats().Opened, uint64(2))
		same(t, "closed under its holder", len(s.ends()), 0)
		l.Release()
		synctest.Wait()
		same(t, "closed after the lease", s.Stats().ClosedBy[ReasonExpired], uint64(1))
		l = s.lease()
		same(t, "what is leased now", l.ID(), uint64(2))
		l.Release()
	})
}

// watchDip steps through time and returns the fewest resources seen usable.
func watchDip(s *stage, until time.Duration) (least int) {
	least = s.Stats().Idle
	for s.at() < until {
		s.pass(100 * time.Millisecond)
		least = min(least, s.Stats().Idle)
	}
	return least
}

func TestOneAtATimeIsClosedAndOpenedAgainWhereThereIsNoRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, aging(Config[*part]{Min: 8, Max: 8}), func(ctx context.Context, _ int) error {
			return pause(ctx, 500*time.Millisecond)
		})
		s.until(time.Second)
		same(t, "fewest at once", watchDip(s, 60*time.Minute), 7)
		same(t, "most at once", s.peak(), 8)
		for _, e := range s.ends() {
			if age := e.at - e.part.opened; age > 10*time.Minute {
				t.Errorf("resource %d lived for %v", e.part.id, age)
			}
		}
	})
}

// sameLifetime gives what is alive a lifetime without jitter.
func (s *stage) sameLifetime(d time.Duration) {
	s.hub.lock()
	defer s.hub.unlock()
	for _, slot := range s.slots() {
		slot.res.Load().lifetime = d
	}
}

// All expire within seconds, in a window too short for one each sweep.
func TestNoStormWhenAllExpireTogether(t *testing.T) {
	for name, limit := range map[string]int{"room": 41, "no room": 40} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var running, most atomic.Int32
				s := setStage(t, aging(Config[*part]{Min: 40, Max: limit}), func(ctx context.Context, n int) error {
					if n > 40 {
						most.Store(max(most.Load(), running.Add(1)))
						defer running.Add(-1)
					}
					return pause(ctx, 500*time.Millisecond)
				})
				s.until(time.Second)
				s.sameLifetime(10 * time.Minute) // as if jitter had been no help
				least := watchDip(s, 15*time.Minute)
				same(t, "fewest at once", least, 40-(41-limit))
				same(t, "opens at once", most.Load(), int32(1))
				same(t, "all were replaced", s.Stats().Closed, uint64(40))
			})
		})
	}
}

func TestAllAreReplacedInTimeWhileTheOldOnesAreStillLeased(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, aging(Config[*part]{Min: 12, Max: 24}), func(ctx context.Context, _ int) error {
			return pause(ctx, 500*time.Millisecond)
		})
		s.until(time.Second)
		s.sameLifetime(10 * time.Minute)
		ls := s.leases(12)
		s.until(10 * time.Minute) // the window began a minute ago, and was seen 10 s later at the latest
		same(t, "opened", s.Stats().Opened, uint64(24))
		same(t, "idle", s.Stats().Idle, 12)
		for _, l := range ls {
			same(t, "the lease stays valid", l.Value() != nil, true)
			l.Release()
		}
	})
}

// A pool drained to zero behind one stuck connector (HikariCP).
func TestAFailingReplacementCostsNothingBeforeTheEndOfTheLifetime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, aging(Config[*part]{Min: 1, Max: 2}), func(_ context.Context, n int) error {
			if n > 1 {
				return errDown
			}
			return nil
		})
		synctest.Wait()
		s.sameLifetime(9 * time.Minute)
		s.until(9*time.Minute - time.Second)
		same(t, "alive in the window", s.Stats().Live, 1)
		if n := len(s.starts()); n < 4 {
			t.Errorf("only %d tries to replace it", n)
		}
		s.until(11 * time.Minute)
		same(t, "alive after it", s.Stats().Live, 0)
	})
}

func TestSurplusIsNotReplacedWhenItsTimeIsUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, aging(Config[*part]{}), nil)
		for _, l := range s.leases(5) {
			l.Release()
		}
		s.until(time.Hour)
		same(t, "alive", s.Stats().Live, 0)
		same(t, "opened", s.Stats().Opened, uint64(5))
	})
}

func TestWithoutAWindowResourcesLiveToTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := aging(Config[*part]{Min: 1})
		cfg.RecycleWindow = Off
		s := setStage(t, cfg, nil)
		s.until(2 * time.Hour)
		for _, e := range s.ends() {
			between(t, "age", e.at-e.part.opened, 9*time.Minute, 10*time.Minute+10*time.Second)
		}
		if n := len(s.ends()); n < 11 {
			t.Errorf("only %d closed", n)
		}
	})
}

func TestAReplacementNobodyNeedsAnyMoreIsNotOpened(t *testing.T) {
	bubble(t, func(t *testing.T) {
		opens := 0
		s := setStage(t, aging(Config[*part]{Min: 1, Max: 3}), func(ctx context.Context, _ int) error {
			return pause(ctx, 5*time.Second)
		})
		s.until(5 * time.Second)
		for opens == 0 { // until the replacement is being opened
			s.pass(time.Second)
			opens = s.Stats().Opening
		}
		s.Evict() // the old one, and the one under way
		s.pass(time.Minute)
		same(t, "alive", s.Stats().Live, 1)
		same(t, "calls of Open", len(s.starts()), 3)
	})
}
