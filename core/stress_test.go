package core

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is a pool and the many who use it, in real time. Nobody sleeps: whoever
// has a resource gives up the processor for a moment and then gives it back.
type crowd struct {
	t   testing.TB
	p   *Pool[*asset]
	v   *vault
	ctx context.Context // ends when it is certain that somebody was forgotten
}

// gather makes a pool for a crowd. It is closed with the test, and nothing may be
// left of it then.
func gather(t testing.TB, cfg Config[*asset]) *crowd {
	t.Helper()
	v := newVault(max(cfg.ShareLimit, 1))
	if cfg.Open == nil {
		cfg.Open = v.open
	}
	if cfg.Reset != nil {
		v.resets = true
		cfg.Reset = func(_ context.Context, a *asset) error {
			defer a.care("a reset")()
			a.dirty.Store(false)
			return nil
		}
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	c := &crowd{t: t, p: p, v: v, ctx: ctx}
	t.Cleanup(func() {
		defer cancel()
		c.disperse()
	})
	return c
}

// disperse closes the pool after everyone has gone.
func (c *crowd) disperse() {
	c.t.Helper()
	if s := c.p.Stats(); s.Leased != 0 || s.Waiting != 0 {
		c.t.Errorf("all have gone, and leases are out or callers wait: %+v", s)
	}
	if err := c.p.Close(c.ctx); err != nil {
		c.t.Errorf("Close: %v", err)
	}
	if s := c.p.Stats(); s.Live+s.Opening+s.Closing != 0 || s.Opened-s.Closed-s.Detached != 0 {
		c.t.Errorf("something is left after Close: %+v", s)
	}
	// puddle joins a destructor before it strikes the resource off its list.
	for c.p.hub.ledger.Stat().TotalResources() != 0 && c.ctx.Err() == nil {
		runtime.Gosched()
	}
	if n := c.p.hub.ledger.Stat().TotalResources(); n != 0 {
		c.t.Errorf("puddle still has %d resources", n)
	}
	c.v.blame(c.t)
	c.v.allClosed(c.t)
}

// each has n goroutines do something so many times each, and waits for them.
func (c *crowd) each(n, times int, act func(rng *rand.Rand)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), uint64(n)))
			for range times {
				act(rng)
			}
		})
	}
	wg.Wait()
}

// use uses a resource for a moment and gives it back.
func (c *crowd) use(l Lease[*asset], alone bool) {
	a := l.Value()
	if a == nil {
		c.v.fault("a new lease has no value")
		return
	}
	a.enter(alone)
	runtime.Gosched()
	a.leave(alone)
	l.Release()
}

// take acquires and uses. It returns the error, which must not be that of c.ctx.
func (c *crowd) take(ctx context.Context, o AcquireOptions) error {
	l, err := c.p.AcquireWith(ctx, o)
	if err == nil {
		c.use(l, o.Exclusive || c.v.share == 1)
	}
	if c.ctx.Err() != nil {
		c.v.fault("somebody was forgotten: %v", err)
	}
	return err
}

func (c *crowd) mustTake(o AcquireOptions) {
	if err := c.take(c.ctx, o); err != nil {
		c.v.fault("%+v failed: %v", o, err)
	}
}

// A lost wakeup leaves somebody asleep beside a free resource for ever.
func TestParkAndWakeForgetsNobodyConcurrentSafe(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{1, 8, rowSize + 3} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			t.Parallel()
			c := gather(t, Config[*asset]{Max: slots})
			c.each(64, 150, func(*rand.Rand) { c.mustTake(AcquireOptions{}) })
		})
	}
}

// Two at one resource, neither in a hurry: now and then a release meets a caller
// that has just looked and is about to wait. In an exclusive pool that one stands in
// the queue, in a shared pool an exclusive claim stands in the other line.
func TestAReleaseNeverMissesACallerAboutToWaitConcurrentSafe(t *testing.T) {
	t.Parallel()
	for _, share := range []int{1, 2} {
		c := gather(t, Config[*asset]{Max: 1, ShareLimit: share})
		var idle atomic.Int64
		c.each(2, 10_000, func(rng *rand.Rand) {
			l, err := c.p.AcquireWith(c.ctx, AcquireOptions{Exclusive: true})
			if err != nil {
				c.v.fault("somebody was forgotten: %v", err)
				return
			}
			for range rng.IntN(30) {
				idle.Load()
			}
			l.Release()
			for range rng.IntN(200) {
				idle.Load()
			}
		})
	}
}

func TestParkAndWakeWithCallersThatGiveUpForgetsNobodyConcurrentSafe(t *testing.T) {
	t.Parallel()
	for _, share := range []int{1, 3} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			t.Parallel()
			c := gather(t, Config[*asset]{Max: 2, ShareLimit: share, AcquireTimeout: time.Minute})
			c.each(64, 60, func(rng *rand.Rand) {
				if rng.IntN(2) == 0 {
					c.mustTake(AcquireOptions{})
					return
				}
				ctx, cancel := context.WithCancel(c.ctx)
				go func() {
					runtime.Gosched()
					cancel()
				}()
				_ = c.take(ctx, AcquireOptions{})
				cancel()
			})
		})
	}
}

// Everything at once, for the race detector: no call may get in the way of another.
func TestAllCallsAtOnceConcurrentSafe(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config[*asset]{
		{Max: 4},
		{Max: 4, Reset: func(context.Context, *asset) error { return nil }},
		{Max: 3, ShareLimit: 4},
		{Max: 3, ShareLimit: 4, Min: 2, Stacks: true, Hooks: Hooks{Released: func(Released) {}}},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			c := gather(t, cfg)
			alone := c.v.share == 1
			c.each(24, 60, func(rng *rand.Rand) {
				key := string(rune('a' + rng.IntN(3)))
				switch rng.IntN(16) {
				case 0:
					if l, ok := c.p.TryAcquire(c.ctx); ok {
						c.use(l, alone)
					}
				case 1:
					_ = c.p.Do(c.ctx, func(context.Context, *asset) error { return nil })
				case 2:
					c.mustTake(AcquireOptions{Exclusive: true})
				case 3:
					c.mustTake(AcquireOptions{Key: key})
				case 4:
					c.mustTake(AcquireOptions{Key: key, Affinity: PinOrRebind})
				case 5:
					var lost *PinLostError
					if err := c.take(c.ctx, AcquireOptions{Key: key, Affinity: Pin}); err != nil && !errors.As(err, &lost) {
						c.v.fault("a pin failed: %v", err)
					}
				case 6:
					if l, err := c.p.Acquire(c.ctx); err == nil {
						l.Discard(nil)
					}
				case 7:
					if l, err := c.p.AcquireWith(c.ctx, AcquireOptions{Exclusive: true}); err == nil {
						if a, err := l.Detach(); err != nil {
							c.v.fault("Detach of an exclusive lease: %v", err)
						} else {
							_ = a.Close()
						}
					}
				case 8:
					_ = c.p.Resize(c.ctx, 0, 1+rng.IntN(5))
				case 9:
					c.p.Evict()
				case 10:
					c.p.Stats()
					c.p.Snapshot()
				case 11:
					if l, err := c.p.Acquire(c.ctx); err == nil {
						stale := l
						c.use(l, alone)
						stale.Release()
						stale.Discard(nil)
					}
				default:
					c.mustTake(AcquireOptions{})
				}
			})
		})
	}
}

func TestResizeUnderLoadNeverExceedsMaxConcurrentSafe(t *testing.T) {
	t.Parallel()
	var open, most atomic.Int64
	v := newVault(1)
	c := gather(t, Config[*asset]{
		Max: 4,
		Open: func(ctx context.Context) (*asset, error) {
			n := open.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				continue
			}
			return v.open(ctx)
		},
		Close: func(_ context.Context, a *asset) error {
			open.Add(-1)
			return a.Close()
		},
	})
	c.v = v
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			if err := c.p.Resize(c.ctx, i%3, 4+i%7); err != nil {
				c.v.fault("Resize: %v", err)
			}
			runtime.Gosched()
		}
	}()
	c.each(32, 100, func(*rand.Rand) { c.mustTake(AcquireOptions{}) })
	<-done
	if most.Load() > 10 {
		t.Errorf("%d resources were open at once, where never more than 10 might be", most.Load())
	}
	if err := c.p.Resize(c.ctx, 0, 1); err != nil {
		t.Error(err)
	}
	c.each(8, 20, func(*rand.Rand) { c.mustTake(AcquireOptions{}) })
	if s := c.p.Stats(); s.Live > 1 {
		t.Errorf("%d resources are alive after a shrink to 1", s.Live)
	}
}

// What was made before an Evict is never lent after it.
func TestEvictUnderLoadNeverLendsWhatIsOldConcurrentSafe(t *testing.T) {
	t.Parallel()
	var era atomic.Int64
	var eras sync.Map // *asset → era when its open began
	v := newVault(1)
	c := gather(t, Config[*asset]{Max: 4, Open: func(ctx context.Context) (*asset, error) {
		began := era.Load()
		runtime.Gosched()
		a, err := v.open(ctx)
		eras.Store(a, began)
		return a, err
	}})
	c.v = v
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			era.Add(1)
			c.p.Evict()
			runtime.Gosched()
		}
	}()
	evicted := func() int64 { // of this era at least the eviction is over
		c.p.hub.lock()
		defer c.p.hub.unlock()
		return int64(c.p.evictions)
	}
	c.each(16, 60, func(*rand.Rand) {
		before := evicted()
		l, err := c.p.Acquire(c.ctx)
		if err != nil {
			c.v.fault("Acquire: %v", err)
			return
		}
		if made, _ := eras.Load(l.Value()); made.(int64) < before {
			c.v.fault("a resource of era %d was lent after eviction %d", made, before)
		}
		c.use(l, true)
	})
	<-done
}

func TestCloseUnderLoadLeavesNothingConcurrentSafe(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		c := gather(t, Config[*asset]{Max: 3, Min: i % 3, ShareLimit: 1 + i%2*3})
		var wg sync.WaitGroup
		for range 24 {
			wg.Go(func() {
				for {
					err := c.take(c.ctx, AcquireOptions{Exclusive: i%3 == 0})
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil {
						c.v.fault("Acquire on a pool that closes: %v", err)
						return
					}
				}
			})
		}
		for range 3 {
			wg.Go(func() {
				for range i * 20 {
					runtime.Gosched()
				}
				if err := c.p.Close(c.ctx); err != nil {
					c.v.fault("Close: %v", err)
				}
			})
		}
		wg.Wait()
	}
}

// Close takes back leases whose holders do not let go, and whoever lets go at that
// very moment, or later, ends nobody else's lease.
func TestCloseTakesBackUnderLoadConcurrentSafe(t *testing.T) {
	t.Parallel()
	for i := range 50 {
		v := newVault(1 + i%2*3)
		v.lapse.Store(0)
		p, err := New(Config[*asset]{Open: v.open, Max: 4, ShareLimit: v.share})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var got atomic.Int64
		for range 8 {
			wg.Go(func() {
				for {
					l, err := p.Acquire(context.Background())
					if err != nil {
						return
					}
					got.Add(1)
					runtime.Gosched()
					l.Release()
				}
			})
		}
		for got.Load() < 8 {
			runtime.Gosched()
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		var e *CloseError
		if err := p.Close(ended); err != nil && !errors.As(err, &e) {
			t.Errorf("Close: %v", err)
		}
		wg.Wait()
		s := p.Stats()
		if s.Live+s.Leased+s.Waiting != 0 || e != nil && uint64(e.Revoked) != s.Revoked {
			t.Errorf("Close said %v, and left %+v", e, s)
		}
		v.blame(t)
		v.allClosed(t)
	}
}

func TestSharedAndExclusiveLeasesUnderLoadConcurrentSafe(t *testing.T) {
	t.Parallel()
	c := gather(t, Config[*asset]{Max: 3, ShareLimit: 4})
	c.each(48, 80, func(rng *rand.Rand) {
		o := AcquireOptions{Exclusive: rng.IntN(4) == 0}
		if rng.IntN(4) == 0 {
			o.Key, o.Affinity = "k", PinOrRebind
		}
		c.mustTake(o)
	})
}
