package core

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The defects of other pools that docs know of, each as a test of what must not
// happen here. Those of timing stand with the mechanism they belong to.

// bubblePool makes a pool of assets in a bubble, and sees in the end that nothing
// is left of it.
func bubblePool(t *testing.T, v *vault, cfg Config[*asset]) *Pool[*asset] {
	t.Helper()
	if cfg.Open == nil {
		cfg.Open = v.open
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		_ = p.Close(ctx)
		time.Sleep(time.Hour) // for callbacks that hang
		if n := p.hub.ledger.Stat().TotalResources(); n != 0 {
			t.Errorf("puddle still has %d resources", n)
		}
		v.blame(t)
		v.allClosed(t)
	})
	return p
}

// puddle: Close does not wake blocked acquirers. The Python pool: shutdown wakes
// nobody.
func TestCloseWakesBlockedAcquirers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bubblePool(t, newVault(2), Config[*asset]{Max: 1, ShareLimit: 2})
		held := mustAcquire(t, p, AcquireOptions{Key: "k", Exclusive: true})
		errs := make(chan error)
		for _, o := range []AcquireOptions{{}, {Exclusive: true}, {Key: "k", Affinity: Pin}, {Key: "k", Affinity: PinOrRebind}} {
			go func() {
				_, err := p.AcquireWith(context.Background(), o)
				errs <- err
			}()
		}
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- p.Close(context.Background()) }()
		for range 4 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("a blocked acquirer got %v, want ErrClosed", err)
			}
		}
		held.Release()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// puddle: CreateResource overlapping Reset serves the old resource once.
func TestOpenOverlappingEvictIsNeverServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		p := bubblePool(t, v, Config[*asset]{Max: 1, Open: func(ctx context.Context) (*asset, error) {
			time.Sleep(time.Second)
			return v.open(ctx)
		}})
		got := inLine(t, p, context.Background(), AcquireOptions{})
		p.Evict()
		time.Sleep(3 * time.Second)
		l := mustServe(t, got, "the caller")
		if n := l.Value().n; n != 2 {
			t.Errorf("resource %d was served; the first was being opened when all were evicted", n)
		}
		l.Release()
	})
}

// puddle: CreateResource overlapping Close leaves a ghost.
func TestOpenOverlappingCloseLeavesNoGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		p := bubblePool(t, v, Config[*asset]{Min: 3, Open: func(ctx context.Context) (*asset, error) {
			time.Sleep(50 * time.Millisecond) // whatever its context says
			return v.open(ctx)
		}})
		synctest.Wait()
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if n := len(v.assets()); n != 3 {
			t.Errorf("%d opens ended, want 3", n)
		}
		v.allClosed(t)
	})
}

// puddle: Acquire waits for its own slow construction although another resource
// became idle meanwhile.
func TestASlowOpenNeverKeepsACallerFromAnIdleResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		var slow atomic.Bool
		p := bubblePool(t, v, Config[*asset]{Max: 2, Open: func(ctx context.Context) (*asset, error) {
			if slow.Load() {
				time.Sleep(5 * time.Second)
			}
			return v.open(ctx)
		}})
		l := mustAcquire(t, p, AcquireOptions{})
		slow.Store(true)
		got := inLine(t, p, context.Background(), AcquireOptions{})
		l.Release()
		mustServe(t, got, "the caller").Release()
	})
}

// puddle: hung constructors with cancelled callers use up the pool. HikariCP:
// one stuck connector drains it to zero.
func TestStuckOpenDoesNotDrainThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		var opens atomic.Int32
		p := bubblePool(t, v, Config[*asset]{Max: 3, MaxOpening: 2, OpenTimeout: time.Second, OpenRetries: Off,
			Open: func(ctx context.Context) (*asset, error) {
				if opens.Add(1) <= 2 {
					time.Sleep(time.Minute) // two get stuck, and know no context
				}
				return v.open(ctx)
			}})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		for _, got := range []<-chan Lease[*asset]{inLine(t, p, ctx, AcquireOptions{}), inLine(t, p, ctx, AcquireOptions{})} {
			if l, ok := <-got; ok {
				t.Error("an open that is stuck served somebody")
				l.Release()
			}
		}
		time.Sleep(2 * time.Second)
		var leases []Lease[*asset]
		for range 3 {
			leases = append(leases, mustAcquire(t, p, AcquireOptions{}))
		}
		for _, l := range leases {
			l.Release()
		}
	})
}

// pgx #1287: a short context kills the dial, and the next caller starts over. The
// Python pool: a cancelled create loses its permit for good.
func TestShortContextDoesNotKillTheDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		p := bubblePool(t, v, Config[*asset]{Max: 1, Open: func(ctx context.Context) (*asset, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Second):
				return v.open(ctx)
			}
		}})
		for range 10 {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			if _, err := p.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a caller without patience got %v", err)
			}
			cancel()
		}
		began := time.Now()
		mustAcquire(t, p, AcquireOptions{}).Release()
		if d := time.Since(began); d != 500*time.Millisecond {
			t.Errorf("the next caller waited %v for a dial that had half a second to go", d)
		}
		if s := p.Stats(); s.Opened != 1 || s.OpenFailures != 0 {
			t.Errorf("%d opens succeeded and %d failed, want one that succeeds", s.Opened, s.OpenFailures)
		}
	})
}

// puddle: a second Release of a reused handle gives one resource to two holders.
func TestDoubleReleaseNeverGivesOneResourceToTwoHolders(t *testing.T) {
	for _, share := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			p := bubblePool(t, newVault(share), Config[*asset]{Max: 1, ShareLimit: share})
			first := mustAcquire(t, p, AcquireOptions{Exclusive: true})
			first.Release()
			second := mustAcquire(t, p, AcquireOptions{Exclusive: true})
			first.Release()
			first.Discard(nil)
			if _, err := first.Detach(); !errors.Is(err, ErrReleased) {
				t.Errorf("Detach of an ended lease: %v", err)
			}
			if l, ok := p.TryAcquire(context.Background()); ok {
				t.Errorf("with share limit %d a second holder got resource %d", share, l.ID())
				l.Release()
			}
			if second.Value() == nil {
				t.Error("the release of a stale lease ended another")
			}
			second.Release()
			if s := p.Stats(); s.StaleReleases != 3 {
				t.Errorf("%d uses of a stale lease were counted, want 3", s.StaleReleases)
			}
		})
	}
}

// puddle: a panic in a constructor or destructor kills the process, and Goexit in
// a constructor blocks Acquire for ever.
func TestPanicOrGoexitInOpenOrCloseNeitherKillsNorBlocks(t *testing.T) {
	for _, leave := range []func(){func() { panic("out") }, runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			v := newVault(1)
			var opens atomic.Int32
			p := bubblePool(t, v, Config[*asset]{Max: 1,
				Open: func(ctx context.Context) (*asset, error) {
					if opens.Add(1) == 1 {
						leave()
					}
					return v.open(ctx)
				},
				Close: func(_ context.Context, a *asset) error {
					_ = a.Close()
					leave()
					return nil
				},
			})
			for range 3 {
				mustAcquire(t, p, AcquireOptions{}).Discard(nil)
			}
		})
	}
}

// vitess #20310: an expired waiter is handed a resource.
func TestExpiredWaiterIsNeverHandedAResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		p := bubblePool(t, v, Config[*asset]{Max: 1})
		for range 200 {
			held := mustAcquire(t, p, AcquireOptions{})
			ctx, cancel := context.WithCancel(context.Background())
			expired := inLine(t, p, ctx, AcquireOptions{})
			next := inLine(t, p, context.Background(), AcquireOptions{})
			p.hub.lock() // the resource comes back before the waiter can leave
			cancel()
			held.slot.rise(held.token, 0, false)
			p.settleLocked(held.slot)
			p.hub.unlock()
			if l, ok := <-expired; ok {
				t.Error("an expired waiter was handed a resource")
				l.Release()
			}
			mustServe(t, next, "the next in line").Release()
		}
	})
}

// puddle: 200 cold acquirers start MaxSize constructions at once.
func TestAColdCrowdStartsNoMoreOpensThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		var now, most atomic.Int32
		p := bubblePool(t, v, Config[*asset]{Max: 50, MaxOpening: 4, Open: func(ctx context.Context) (*asset, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return v.open(ctx)
		}})
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { mustAcquire(t, p, AcquireOptions{}).Release() })
		}
		wg.Wait()
		if most.Load() > 4 {
			t.Errorf("%d opens ran at once, where 4 may", most.Load())
		}
		if n := len(v.assets()); n > 8 {
			t.Errorf("%d resources were opened for a crowd that the first ones served in no time", n)
		}
	})
}

// puddle: TryAcquire ignores a cancelled context, and constructs on the side.
func TestTryAcquireWithAnEndedContextDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		p := bubblePool(t, v, Config[*asset]{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, ok := p.TryAcquire(ctx); ok {
			t.Error("an ended context yielded a lease")
		}
		synctest.Wait()
		if n := len(v.assets()); n != 0 {
			t.Errorf("%d resources were opened for a context that had ended", n)
		}
	})
}

// pgx #802: Close waits for ever.
func TestCloseNeverOutlastsItsContextByMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		p := bubblePool(t, v, Config[*asset]{Max: 2, CloseTimeout: time.Second, Close: func(_ context.Context, a *asset) error {
			_ = a.Close()
			time.Sleep(time.Minute)
			return nil
		}})
		held := mustAcquire(t, p, AcquireOptions{})
		mustAcquire(t, p, AcquireOptions{}).Release()
		v.lapse.Store(time.Now().Add(time.Minute).UnixNano())
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		err := p.Close(ctx)
		var e *CloseError
		if !errors.As(err, &e) || e.Revoked != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close returned %v, want one lease taken back at the deadline", err)
		}
		if d := time.Since(began); d > time.Minute+2*time.Second {
			t.Errorf("Close took %v with a minute to spend", d)
		}
		if held.Value() != nil {
			t.Error("the lease is still good")
		}
		held.Release()
	})
}

// HikariCP #2205: nobody can tell why a pool is exhausted.
func TestExhaustionIsNeverWithoutAnExplanation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		down := errors.New("no route to host")
		var opens atomic.Int32
		p := bubblePool(t, v, Config[*asset]{Max: 2, OpenRetries: Off, Open: func(ctx context.Context) (*asset, error) {
			if opens.Add(1) > 1 {
				return nil, down
			}
			return v.open(ctx)
		}})
		held := mustAcquire(t, p, AcquireOptions{})
		defer held.Release()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := p.Acquire(ctx)
		var e *ExhaustedError
		if !errors.As(err, &e) {
			t.Fatalf("Acquire returned %v, want an ExhaustedError", err)
		}
		if e.Waited != time.Minute || e.Max != 2 || e.Live != 1 || e.Leased != 1 || e.Waiting != 0 {
			t.Errorf("the error says %+v", e)
		}
		if !errors.Is(err, down) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrExhausted) {
			t.Errorf("%v hides a reason", err)
		}
	})
}

// The Python pool: broken sessions are lent again for ever.
func TestWhatIsBrokenIsNeverLentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken pipe")
		v := newVault(1)
		p := bubblePool(t, v, Config[*asset]{Max: 1, Broken: func(err error) bool { return errors.Is(err, broken) }})
		seen := make(map[int]bool)
		for range 5 {
			err := p.Do(context.Background(), func(_ context.Context, a *asset) error {
				if seen[a.n] {
					t.Errorf("resource %d was lent again", a.n)
				}
				seen[a.n] = true
				return broken
			})
			if !errors.Is(err, broken) {
				t.Errorf("Do returned %v", err)
			}
		}
	})
}

// The Python pool: shrinking does nothing, and growing again inflates.
func TestShrinkingAndGrowingAgainNeverInflates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		p := bubblePool(t, v, Config[*asset]{Max: 6})
		for range 5 {
			var leases []Lease[*asset]
			for range 6 {
				leases = append(leases, mustAcquire(t, p, AcquireOptions{}))
			}
			if l, ok := p.TryAcquire(context.Background()); ok {
				t.Error("a seventh lease was given with Max 6")
				l.Release()
			}
			if err := p.Resize(context.Background(), 0, 2); err != nil {
				t.Fatal(err)
			}
			for _, l := range leases {
				l.Release()
			}
			synctest.Wait()
			if s := p.Stats(); s.Live != 2 {
				t.Errorf("%d resources are alive after a shrink to 2", s.Live)
			}
			if err := p.Resize(context.Background(), 0, 6); err != nil {
				t.Fatal(err)
			}
		}
	})
}
