package core

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// patient is a resource whose probe returns what the ward says.
type patient struct {
	n    int
	ward *ward
}

func (p *patient) Close() error { return nil }

func (p *patient) Probe(context.Context) error {
	p.ward.mu.Lock()
	defer p.ward.mu.Unlock()
	if p.ward.all != nil {
		return p.ward.all
	}
	return p.ward.verdicts[p.n]
}

type ward struct {
	mu       sync.Mutex
	made     int
	all      error
	verdicts map[int]error
}

func (w *ward) say(n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.verdicts[n] = err
}

// newWard returns a pool in which probes come every minute, with size resources.
func newWard(t *testing.T, cfg Config[*patient], size int) (*ward, *Pool[*patient]) {
	t.Helper()
	w := &ward{verdicts: make(map[int]error)}
	cfg.Open = func(context.Context) (*patient, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.made++
		return &patient{n: w.made, ward: w}, nil
	}
	cfg.Min, cfg.Max, cfg.MaxOpening = size, size, 1
	cfg.ProbeInterval, cfg.MaxLifetime = time.Minute, Off
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w, p
}

// round lets every resource be probed.
func round() {
	time.Sleep(time.Minute + 20*time.Second)
	synctest.Wait()
}

func closePool(t *testing.T, p *Pool[*patient]) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := p.weak.Load(); n != 0 {
		t.Errorf("%d slots are counted as weak in a closed pool", n)
	}
}

func TestADegradedResourceIsLeasedOnlyWhereNothingElseIsFree(t *testing.T) {
	for _, share := range []int{1, 4} {
		for _, o := range []AcquireOptions{{}, {Key: "k"}, {Exclusive: true}, {NoWait: true}} {
			synctest.Test(t, func(t *testing.T) {
				w, p := newWard(t, Config[*patient]{ShareLimit: share, GrowAt: share}, 3)
				w.say(1, fmt.Errorf("slow: %w", ErrDegraded))
				round()
				if s := p.Stats(); s.Weak != 1 || s.ProbeFailures != 0 || s.ProbesDegraded == 0 || s.Live != 3 || s.Idle != 3 {
					t.Errorf("after the probes: %+v", s)
				}
				var leases []Lease[*patient]
				seats := 3
				if !o.Exclusive {
					seats *= share
				}
				for i := range seats {
					o := o
					if o.Key != "" {
						o.Key = fmt.Sprint(i)
					}
					l, err := p.AcquireWith(t.Context(), o)
					if err != nil {
						t.Fatalf("seat %d of %d: %v", i, seats, err)
					}
					if weak := l.Value().n == 1; weak != (i >= seats*2/3) {
						t.Errorf("seat %d of %d was on resource %d", i, seats, l.Value().n)
					}
					leases = append(leases, l)
				}
				for _, l := range leases {
					l.Release()
				}
				closePool(t, p)
			})
		}
	}
}

func TestAHealthyProbeClearsDegradedAndAnUnknownOneClearsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWard(t, Config[*patient]{}, 2)
		for i, step := range []struct {
			verdict error
			weak    int
			first   int
		}{{ErrDegraded, 1, 2}, {ErrUnknown, 1, 2}, {nil, 0, 1}, {ErrUnknown, 0, 1}, {ErrDegraded, 1, 2}, {nil, 0, 1}} {
			w.say(1, step.verdict)
			round()
			l, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if s := p.Stats(); s.Weak != step.weak || l.Value().n != step.first || s.ProbeFailures != 0 {
				t.Errorf("step %d: resource %d, %+v", i, l.Value().n, s)
			}
			l.Release()
		}
		if s := p.Stats(); s.ProbesUnknown < 2 || s.ProbesDegraded < 2 || s.Opened != 2 {
			t.Errorf("%+v", s)
		}
		closePool(t, p)
	})
}

func TestNobodyWaitsWhileADegradedResourceIsFree(t *testing.T) {
	for _, share := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			w, p := newWard(t, Config[*patient]{ShareLimit: share}, 2)
			w.mu.Lock()
			w.all = ErrDegraded
			w.mu.Unlock()
			round()
			began := time.Now()
			var leases []Lease[*patient]
			for range 2 * share {
				l, ok := p.TryAcquire(t.Context())
				if !ok {
					t.Fatalf("refused with %d leases out: %+v", len(leases), p.Stats())
				}
				leases = append(leases, l)
			}
			got := make(chan Lease[*patient], 2)
			for range 2 { // each release goes to who waits
				go func() {
					if l, err := p.Acquire(context.Background()); err == nil {
						got <- l
					}
				}()
			}
			synctest.Wait()
			leases[0].Release()
			leases[1].Release()
			for range 2 {
				l := <-got
				l.Release()
			}
			for _, l := range leases[2:] {
				l.Release()
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("took %v", took)
			}
			if infos := p.Snapshot(); !infos[0].Weak || !infos[1].Weak {
				t.Errorf("%+v", infos)
			}
			closePool(t, p)
		})
	}
}

func TestAWaiterGetsAResourceThatComesBackDegraded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p, err := New(Config[*patient]{
			Open:          func(context.Context) (*patient, error) { return &patient{}, nil },
			Probe:         func(context.Context, *patient) error { <-release; return ErrDegraded },
			Max:           1,
			Min:           1,
			ProbeInterval: time.Minute,
			ProbeTimeout:  Off,
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		got := make(chan error, 1)
		go func() {
			l, err := p.Acquire(context.Background())
			l.Release()
			got <- err
		}()
		synctest.Wait()
		close(release)
		if err := <-got; err != nil || p.Stats().Weak != 1 {
			t.Errorf("%v, %+v", err, p.Stats())
		}
		closePool(t, p)
	})
}

// liar is a verdict of another package.
type liar struct{ degraded, unknown bool }

func (l liar) Error() string  { return "liar" }
func (l liar) Degraded() bool { return l.degraded }
func (l liar) Unknown() bool  { return l.unknown }

func TestVerdictsAreFoundByTheirMethods(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err               error
		degraded, unknown bool
	}{
		{nil, false, false},
		{errors.New("x"), false, false},
		{ErrDegraded, true, false},
		{ErrUnknown, false, true},
		{fmt.Errorf("why: %w", ErrUnknown), false, true},
		{fmt.Errorf("why: %w", liar{degraded: true}), true, false},
		{liar{unknown: true}, false, true},
		{liar{}, false, false},
	} {
		if isDegraded(c.err) != c.degraded || isUnknown(c.err) != c.unknown {
			t.Errorf("%v: degraded %v, unknown %v", c.err, isDegraded(c.err), isUnknown(c.err))
		}
	}
}

func TestALyingProbeCondemnsAShareAtATime(t *testing.T) {
	for _, c := range []struct {
		share       float64
		size, first int
	}{{0, 10, 5}, {0.1, 10, 1}, {0.25, 10, 3}, {0.01, 10, 1}, {1, 10, 10}, {Off, 10, 10}, {0, 1, 1}, {0, 3, 2}} {
		synctest.Test(t, func(t *testing.T) {
			w, p := newWard(t, Config[*patient]{MaxCondemnedShare: c.share}, c.size)
			w.mu.Lock()
			w.all = errors.New("all is lost")
			w.mu.Unlock()
			// The new ones are not due before the next interval.
			time.Sleep(time.Minute + 30*time.Second)
			synctest.Wait()
			s := p.Stats()
			if got := s.ClosedBy[ReasonProbe]; got != uint64(c.first) || s.Live != c.size {
				t.Errorf("%v of %d: %d condemned, %d live", c.share, c.size, got, s.Live)
			}
			if s.ProbesSpared != s.ProbeFailures-uint64(c.first) || s.Weak != c.size-c.first {
				t.Errorf("%v of %d: %+v", c.share, c.size, s)
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if got := p.Stats(); got.ClosedBy[ReasonProbe] > uint64(c.first*12) || got.Live != c.size {
				t.Errorf("%v of %d, later: %+v", c.share, c.size, got)
			}
			closePool(t, p)
		})
	}
}

func TestAProbeBeforeALeaseIsNotLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWard(t, Config[*patient]{ProbeAfterIdle: 10 * time.Second, MaxCondemnedShare: 0.1}, 4)
		time.Sleep(20 * time.Second)
		for n := 1; n <= 4; n++ {
			w.say(n, errors.New("dead"))
		}
		l, err := p.Acquire(t.Context())
		if err != nil || l.Value().n <= 4 {
			t.Errorf("resource %d, %v", l.Value().n, err)
		}
		l.Release()
		closePool(t, p)
	})
}

func TestACondemnedShareThatIsNoneIsAFault(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{-2, 1.1, math.NaN(), math.Inf(1)} {
		_, err := New(Config[*patient]{Open: func(context.Context) (*patient, error) { return new(patient), nil }, MaxCondemnedShare: share})
		var fault *ConfigError
		if !errors.As(err, &fault) || fault.Field != "MaxCondemnedShare" {
			t.Errorf("%v: %v", share, err)
		}
	}
}

func TestVerdictsOfAllKindsUnderLoadConcurrentSafe(t *testing.T) {
	t.Parallel()
	for _, share := range []int{1, 3} {
		v := newVault(share)
		verdicts := []error{nil, nil, ErrDegraded, ErrUnknown, errors.New("bad"), ErrDegraded}
		p, err := New(Config[*asset]{
			Open:  v.open,
			Probe: func(context.Context, *asset) error { return verdicts[rand.IntN(len(verdicts))] },
			Min:   6, Max: 6, ShareLimit: share, MaxProbing: 3, ProbeInterval: 2 * time.Millisecond, ProbeAfterIdle: 5 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 400 {
					o := AcquireOptions{Exclusive: g == 0}
					if g == 1 {
						o.Key, o.Affinity = fmt.Sprint(i%5), PinOrRebind
					}
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					l, err := p.AcquireWith(ctx, o)
					if err != nil {
						t.Errorf("caller %d: %v", g, err)
					}
					l.Release()
					cancel()
				}
			})
		}
		wg.Wait()
		p.hub.lock()
		weak := 0
		for _, s := range p.slots() {
			if s.word.Load()&flagWeak != 0 {
				weak++
			}
		}
		if int(p.weak.Load()) != weak {
			t.Errorf("counted %d, marked %d", p.weak.Load(), weak)
		}
		p.hub.unlock()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Opened != s.Closed || s.Weak != 0 {
			t.Errorf("%+v", s)
		}
		v.blame(t)
	}
}
