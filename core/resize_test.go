package core

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// resize resizes, and fails the test if that fails.
func (s *stage) resize(minimum, maximum int) {
	s.t.Helper()
	if err := s.Resize(context.Background(), minimum, maximum); err != nil {
		s.t.Fatal(err)
	}
}

func TestGrowingWakesWaiters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1}, nil)
		l := s.lease()
		claims := []*claim{s.claim(t.Context()), s.claim(t.Context()), s.claim(t.Context())}
		s.resize(0, 3)
		synctest.Wait()
		same(t, "who was served", []bool{claims[0].done(), claims[1].done(), claims[2].done()}, []bool{true, true, false})
		l.Release()
		synctest.Wait()
		for _, c := range claims {
			c.got(t).Release()
		}
		same(t, "most at once", s.peak(), 3)
	})
}

func TestRaisingMinFillsThePool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{}, nil)
		s.resize(4, 10)
		synctest.Wait()
		same(t, "alive", s.Stats().Live, 4)
	})
}

// Shrinking that is a no-op, and regrowing that inflates (the Python pool).
func TestShrinkingClosesIdleOnesNowAndLeasedOnesAsTheyReturn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 6}, nil)
		ls := s.leases(6)
		ls[4].Release()
		ls[5].Release()
		s.resize(0, 2)
		synctest.Wait()
		same(t, "idle ones closed", len(s.ends()), 2)
		same(t, "alive", s.Stats().Live, 4)
		for _, l := range ls[:4] {
			same(t, "leases stay valid", l.Value() != nil, true)
		}
		c := s.claim(t.Context())
		ls[3].Release()
		ls[2].Release()
		synctest.Wait()
		same(t, "those that retire serve nobody", c.done(), false)
		same(t, "closed", s.Stats().ClosedBy[ReasonShrunk], uint64(4))
		ls[0].Release()
		synctest.Wait()
		c.got(t).Release()
		ls[1].Release()
		same(t, "alive", s.Stats().Live, 2)
	})
}

func TestResizeAnyNumberOfTimesUnderLeasesKeepsTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, 0))
		s := setStage(t, Config[*part]{Max: 10, ShareLimit: 2}, func(ctx context.Context, _ int) error { return pause(ctx, 50*time.Millisecond) })
		var out []Lease[*part]
		for range 2000 {
			switch n := rnd.IntN(10); {
			case n < 3:
				high := 1 + rnd.IntN(20)
				s.resize(rnd.IntN(high+1), high)
			case n < 6:
				c := s.claim(within(t, 100*time.Millisecond))
				s.pass(100 * time.Millisecond)
				if c.err == nil {
					out = append(out, c.got(t))
				} else {
					is(t, c.err, ErrExhausted)
				}
			case len(out) > 0:
				i := rnd.IntN(len(out))
				out[i].Release()
				out = append(out[:i], out[i+1:]...)
			}
			s.pass(time.Duration(rnd.IntN(60)) * time.Millisecond)
			if st := s.Stats(); rnd.IntN(20) == 0 {
				s.pass(time.Minute)
				s.hub.lock()
				usable, maximum, minimum := s.usableLocked(), s.max, s.min
				s.hub.unlock()
				if usable > maximum || usable < minimum && s.Stats().Live < maximum {
					t.Fatalf("seed %d: %d usable, limits %d to %d: %+v", seed, usable, minimum, maximum, st)
				}
			}
		}
		for _, l := range out {
			l.Release()
		}
		s.resize(0, 3)
		s.pass(time.Second)
		if st := s.Stats(); st.Live > 3 || st.Leased != 0 {
			t.Errorf("seed %d: %+v", seed, st)
		}
	})
}

func TestGrowingAgainTakesBackWhatHadNotGoneYet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 3}, nil)
		ls := s.leases(3)
		s.resize(0, 1)
		s.resize(0, 3)
		for _, l := range ls {
			l.Release()
		}
		synctest.Wait()
		same(t, "closed", len(s.ends()), 0)
		same(t, "alive", s.Stats().Live, 3)
	})
}

func TestGrowingAgainDoesNotBringBackWhatIsOfNoMoreUse(t *testing.T) {
	for name, spoil := range map[string]func(s *stage, l Lease[*part]){
		"evicted":   func(s *stage, _ Lease[*part]) { s.Evict() },
		"discarded": func(_ *stage, l Lease[*part]) { l.Discard(errBroken) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := setStage(t, Config[*part]{Max: 2, ShareLimit: 2, GrowAt: 2}, nil)
				ls := s.leases(4)
				s.resize(0, 1) // one of them is to go
				var gone int
				for i, r := range s.Snapshot() {
					if r.State == StateRetiring {
						gone = i
					}
				}
				spoil(s, ls[2*gone])
				if name == "evicted" {
					s.resize(0, 4)
				} else {
					s.resize(0, 2)
				}
				s.pass(time.Second)
				ls[2*gone].Release()
				l := s.claim(t.Context())
				if l.done() && l.lease.ID() <= 2 {
					t.Errorf("resource %d is lent again", l.lease.ID())
				}
				for _, l := range ls {
					l.Release()
				}
				synctest.Wait()
				l.got(t).Release()
			})
		})
	}
}

func TestShrinkingDuringOpensRetiresNothingThatIsInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 4}, func(ctx context.Context, n int) error {
			if n > 2 {
				return pause(ctx, time.Second)
			}
			return nil
		})
		ls := s.leases(2)
		impatient, patient := s.claim(within(t, time.Millisecond)), s.claim(t.Context())
		s.resize(0, 2) // two are alive, two are being opened
		s.pass(2 * time.Second)
		is(t, impatient.failed(t), ErrExhausted)
		same(t, "closed", s.Stats().ClosedBy[ReasonShrunk], uint64(2))
		for _, r := range s.Snapshot() {
			same(t, "state", r.State, StateLeased)
		}
		ls[0].Release()
		synctest.Wait()
		same(t, "resource", patient.got(t).ID() <= 2, true)
		patient.lease.Release()
		ls[1].Release()
		same(t, "calls of Open", len(s.starts()), 4)
	})
}

func TestResizeReportsAndRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := make(chan Resized, 9)
		s := setStage(t, Config[*part]{Min: 1, Max: 5, Hooks: Hooks{Resized: func(e Resized) { seen <- e }}}, nil)
		s.resize(0, Off)
		same(t, "event", <-seen, Resized{Pool: "pool", OldMin: 1, OldMax: 5, Min: 0, Max: -1})
		s.resize(2, 3)
		before := s.Stats()
		for _, bad := range [][2]int{{-2, 3}, {0, 0}, {0, -2}, {4, 3}} {
			err := s.Resize(t.Context(), bad[0], bad[1])
			if _, ok := errors.AsType[*ConfigError](err); !ok {
				t.Errorf("Resize(%v): %v", bad, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		is(t, s.Resize(ctx, 1, 1), context.Canceled)
		is(t, s.Resize(noContext, 1, 1), ErrNilContext)
		same(t, "limits", []int{s.Stats().Min, s.Stats().Max}, []int{before.Min, before.Max})
	})
}

func TestEvictRetiresWhatWasMadeBeforeAndNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 4, MaxOpening: 1}, func(ctx context.Context, n int) error {
			if n > 2 {
				return pause(ctx, time.Second)
			}
			return nil
		})
		ls := s.leases(2)
		ls[1].Release()
		idle := s.lease()
		c, d := s.claim(t.Context()), s.claim(t.Context())
		s.until(500 * time.Millisecond)
		idle.Release() // serves c
		synctest.Wait()
		c.got(t).Release() // serves d
		synctest.Wait()
		d.got(t).Release()
		s.Evict() // one leased, one idle, one being opened
		synctest.Wait()
		same(t, "idle closed at once", len(s.ends()), 1)
		same(t, "the lease stays valid", ls[0].Value() != nil, true)
		s.until(time.Second)
		same(t, "what was being opened is closed as it comes", s.Stats().ClosedBy[ReasonEvicted], uint64(2))
		ls[0].Release()
		synctest.Wait()
		same(t, "evicted", s.Stats().ClosedBy[ReasonEvicted], uint64(3))
		l := s.lease()
		same(t, "resource", l.ID(), uint64(4))
		l.Release()
		same(t, "alive", s.Stats().Live, 1)
	})
}

func TestAnEvictedOpenStillServesItsWaiterWithAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1}, func(ctx context.Context, _ int) error { return pause(ctx, time.Second) })
		c := s.claim(t.Context())
		s.until(500 * time.Millisecond)
		s.Evict()
		s.until(2 * time.Second)
		same(t, "resource", c.got(t).ID(), uint64(2))
		c.lease.Release()
	})
}
