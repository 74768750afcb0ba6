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

// Whatever becomes of the one trial of an open circuit, another must follow.

func TestATrialWhoseResourceIsNotWantedAnyMoreDoesNotWedgeTheCircuit(t *testing.T) {
	for name, spoil := range map[string]func(*Pool[*asset]){
		"evicted": func(p *Pool[*asset]) { p.Evict() },
		"shrunk": func(p *Pool[*asset]) { // the place goes while the trial runs
			p.hub.lock()
			p.max = 0
			p.hub.unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVault(1)
				var slow, up atomic.Bool
				p, err := New(Config[*asset]{Max: 1, OpenRetries: Off, CircuitFailures: 1,
					Open: func(ctx context.Context) (*asset, error) {
						if !up.Load() {
							return nil, errors.New("down")
						}
						if slow.Load() {
							time.Sleep(time.Second)
						}
						return v.open(ctx)
					}})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close(context.Background())
				if _, err := p.Acquire(context.Background()); err == nil {
					t.Fatal("the open was to fail")
				}
				up.Store(true)
				slow.Store(true)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				done := make(chan error, 1)
				go func() {
					l, err := p.Acquire(ctx)
					l.Release()
					done <- err
				}()
				for p.Stats().Opening == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				spoil(p)
				time.Sleep(1100 * time.Millisecond)
				p.hub.lock()
				p.max = 1
				p.hub.demandLocked(p)
				p.hub.unlock()
				if err := <-done; err != nil {
					t.Errorf("after the trial was spoilt nobody is served any more: %v", err)
				}
				if s := p.Stats(); s.Circuit != BreakerClosed {
					t.Errorf("the circuit is %v after an open went well", s.Circuit)
				}
			})
		})
	}
}

func TestARefusedTryAcquireLeavesNoDemandBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		p, err := New(Config[*asset]{Open: v.open, Max: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		l := mustAcquire(t, p, AcquireOptions{})
		if _, ok := p.TryAcquire(context.Background()); ok {
			t.Fatal("TryAcquire got the one resource that is leased")
		}
		l.Discard(nil)
		synctest.Wait()
		if n := len(v.assets()); n != 1 {
			t.Errorf("%d resources were opened, the last for a TryAcquire that had long failed", n)
		}
	})
}

// A seat is won in the slot's word first and taken after. Close must not overlook
// a lease between the two steps, or it would wait for its holder for ever.
func TestCloseTakesBackALeaseThatIsJustBeingTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(2)
		p, err := New(Config[*asset]{Open: v.open, ShareLimit: 2, Max: 1})
		if err != nil {
			t.Fatal(err)
		}
		mustAcquire(t, p, AcquireOptions{}).Release()
		s := p.slots()[0]
		v.lapse.Store(0)

		won := s.word.Add(oneMore) // the first step of a claim
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		closed := make(chan error, 1)
		go func() { closed <- p.Close(ctx) }()
		time.Sleep(time.Millisecond)
		late := s.sit(won) // and the second
		var e *CloseError
		select {
		case err := <-closed:
			if !errors.As(err, &e) || e.Revoked != 1 {
				t.Errorf("Close returned %v, want one lease taken back", err)
			}
		case <-time.After(time.Hour):
			t.Error("Close still waits for a lease that it overlooked")
			late.Release()
			<-closed
		}
	})
}

// A copy of a lease that is released while the lease is being detached must not
// put the resource back into service without its reset.
func TestAReleaseInTheMiddleOfADetachDoesNotSkipTheResetConcurrentSafe(t *testing.T) {
	t.Parallel()
	for i := range 500 {
		v := newVault(1)
		v.resets = true
		p, err := New(Config[*asset]{Open: v.open, Max: 1,
			Reset: func(_ context.Context, a *asset) error {
				defer a.care("a reset")()
				a.dirty.Store(false)
				return nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		l := mustAcquire(t, p, AcquireOptions{})
		l.Value().enter(true)
		l.Value().leave(true)
		released := make(chan struct{})
		begin := make(chan struct{})
		go func() {
			<-begin
			for range i % 64 {
				_ = l.slot.word.Load()
			}
			l.Release()
			close(released)
		}()
		close(begin)
		a, err := l.Detach()
		<-released
		if err == nil {
			_ = a.Close()
		} else if next := mustAcquire(t, p, AcquireOptions{}); true {
			next.Value().enter(true)
			next.Value().leave(true)
			next.Release()
		}
		if err := p.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		v.blame(t)
		if t.Failed() {
			return
		}
	}
}

// An abandoned callback may return, and panic, at any time, also when Close has
// seen the last of its goroutines end. Close must not leave the hook behind that
// this calls.
func TestCloseWaitsForAHookThatIsCalledAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called := false
		p, err := New(Config[*asset]{Open: newVault(1).open, Hooks: Hooks{Panicked: func(Panicked) {
			time.Sleep(time.Second)
			called = true
		}}})
		if err != nil {
			t.Fatal(err)
		}
		p.hub.jobs.Add(1)
		closed := make(chan error)
		go func() { closed <- p.Close(context.Background()) }()
		synctest.Wait() // Close waits for the one job
		p.hub.lock()
		p.hub.jobs.Done()
		for range 1000 {
			runtime.Gosched() // now it waits for the lock
		}
		p.emitLocked("Panicked", func() { p.cfg.Hooks.Panicked(Panicked{}) })
		p.hub.unlock()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if !called {
			t.Error("Close returned before the hook did")
		}
		time.Sleep(time.Minute)
	})
}

// When Close turns away an exclusive claim, the seats that were kept from others
// are free. Nobody may get one of them any more.
func TestCloseGivesNoSeatToAWaiterBehindAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(2)
		p, err := New(Config[*asset]{Open: v.open, Max: 1, ShareLimit: 2})
		if err != nil {
			t.Fatal(err)
		}
		l := mustAcquire(t, p, AcquireOptions{Key: "k"})
		claim := inLine(t, p, context.Background(), AcquireOptions{Exclusive: true})
		pin := inLine(t, p, context.Background(), AcquireOptions{Key: "k", Affinity: Pin})
		closed := make(chan error)
		go func() { closed <- p.Close(context.Background()) }()
		for _, got := range []<-chan Lease[*asset]{claim, pin} {
			if late, ok := <-got; ok {
				t.Error("a waiter got a lease of a pool that is closing")
				late.Release()
			}
		}
		l.Release()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A resource that a shrink marked, whose last lease came back, and that the next
// growth takes back, must have been reset before anyone gets it.
func TestAGrowthThatTakesBackAShrinkDoesNotSkipTheReset(t *testing.T) {
	t.Parallel()
	v := newVault(1)
	v.resets = true
	p, err := New(Config[*asset]{Open: v.open, Max: 2,
		Reset: func(_ context.Context, a *asset) error {
			defer a.care("a reset")()
			a.dirty.Store(false)
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	leases := []Lease[*asset]{mustAcquire(t, p, AcquireOptions{}), mustAcquire(t, p, AcquireOptions{})}
	if err := p.Resize(context.Background(), 0, 1); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, l := range leases {
		l.Value().enter(true)
		l.Value().leave(true)
		wg.Go(l.Release) // ends the lease, and then waits for the lock
	}
	p.hub.lock()
	for p.Stats().Leased > 0 {
		runtime.Gosched()
	}
	p.max = 2
	p.shrinkLocked()
	p.hub.unlock()
	wg.Wait()
	for i := range leases {
		leases[i] = mustAcquire(t, p, AcquireOptions{})
		leases[i].Value().enter(true)
	}
	for _, l := range leases {
		l.Value().leave(true)
		l.Release()
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	v.blame(t)
	v.allClosed(t)
}

// Every lease that Hooks.Released hears of was one that a caller had.
func TestAContextThatEndsAsItIsServedReportsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(1)
		var acquired, released atomic.Int32
		p, err := New(Config[*asset]{Open: v.open, Max: 1, Hooks: Hooks{
			AcquireEnd: func(_ context.Context, e AcquireEnd) {
				if e.Err == nil {
					acquired.Add(1)
				}
			},
			Released: func(Released) { released.Add(1) },
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		for range 100 {
			l := mustAcquire(t, p, AcquireOptions{})
			ctx, cancel := context.WithCancel(context.Background())
			got := inLine(t, p, ctx, AcquireOptions{})
			p.hub.lock() // served, but not woken before its context has ended
			l.slot.rise(l.token, 0, false)
			p.settleLocked(l.slot)
			cancel()
			p.hub.unlock()
			released.Add(1)
			if next, ok := <-got; ok {
				t.Error("a context that had ended yielded a lease")
				next.Release()
			}
		}
		if a, r := acquired.Load(), released.Load(); a != r {
			t.Errorf("hooks heard of %d leases that began, and of %d that ended", a, r)
		}
	})
}
