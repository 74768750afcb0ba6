package core

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// sharedPool makes a pool of assets that share, inside a bubble, and closes it in
// the end.
func sharedPool(t *testing.T, v *vault, slots int) *Pool[*asset] {
	t.Helper()
	p, err := New(Config[*asset]{Open: v.open, Max: slots, ShareLimit: v.share})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		v.blame(t)
		v.allClosed(t)
	})
	return p
}

// inLine starts an Acquire and returns a channel that gets its lease.
func inLine(t *testing.T, p *Pool[*asset], ctx context.Context, o AcquireOptions) <-chan Lease[*asset] { //nolint:revive // t goes first
	t.Helper()
	got := make(chan Lease[*asset], 1)
	go func() {
		defer close(got)
		if l, err := p.AcquireWith(ctx, o); err == nil {
			got <- l
		}
	}()
	synctest.Wait()
	return got
}

// mustServe returns the lease that has to be there by now.
func mustServe(t *testing.T, got <-chan Lease[*asset], who string) Lease[*asset] {
	t.Helper()
	synctest.Wait()
	select {
	case l := <-got:
		return l
	default:
		t.Fatalf("%s is still waiting", who)
		return Lease[*asset]{}
	}
}

func mustAcquire(t testing.TB, p *Pool[*asset], o AcquireOptions) Lease[*asset] {
	t.Helper()
	l, err := p.AcquireWith(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnExclusiveReleaseServesTheNextExclusiveClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sharedPool(t, newVault(2), 1)
		first := mustAcquire(t, p, AcquireOptions{Exclusive: true})
		second := inLine(t, p, context.Background(), AcquireOptions{Exclusive: true})
		third := inLine(t, p, context.Background(), AcquireOptions{Exclusive: true})
		first.Release()
		next := mustServe(t, second, "the second exclusive claim")
		next.Release()
		mustServe(t, third, "the third exclusive claim").Release()
	})
}

func TestAnExclusiveClaimTakesAnySlotThatBecomesEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sharedPool(t, newVault(2), 2)
		a := mustAcquire(t, p, AcquireOptions{Exclusive: true})
		b := mustAcquire(t, p, AcquireOptions{Exclusive: true})
		a.Release()
		b.Release()
		// One shared lease on each slot: the claim reserves one of the two.
		leases := []Lease[*asset]{mustAcquire(t, p, AcquireOptions{}), {}}
		pinned := mustAcquire(t, p, AcquireOptions{Exclusive: true})
		leases[1] = pinned
		claim := inLine(t, p, context.Background(), AcquireOptions{Exclusive: true})
		for _, l := range leases {
			if l.slot.word.Load()&flagWatched == 0 {
				l.Release() // the slot that is not reserved
				mustServe(t, claim, "the exclusive claim").Release()
			}
		}
		leases[0].Release()
		leases[1].Release()
	})
}

// Two claims on one slot: one has it reserved, the other waits for a reservation.
// When the first gives up just as a shared lease returns, the second must get it,
// or those who share could starve it for ever.
func TestAReservationOfAClaimThatGaveUpGoesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sharedPool(t, newVault(3), 1)
		x, y := mustAcquire(t, p, AcquireOptions{}), mustAcquire(t, p, AcquireOptions{})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		first := inLine(t, p, ctx, AcquireOptions{Exclusive: true})
		second := inLine(t, p, context.Background(), AcquireOptions{Exclusive: true})

		// The lock is held while the context ends and a lease returns: the release
		// finds the claim's context ended before the claim itself has left.
		p.hub.lock()
		cancel()
		s := x.slot
		s.rise(x.token, 0, false)
		p.settleLocked(s)
		p.hub.unlock()
		synctest.Wait()
		if _, ok := <-first; ok {
			t.Error("a claim whose context had ended got a lease")
		}
		p.hub.lock()
		if s.word.Load()&flagWatched == 0 {
			t.Error("the slot is reserved for nobody although somebody wants it alone")
		}
		p.hub.unlock()
		if l, ok := p.TryAcquire(context.Background()); ok {
			t.Error("a shared acquire took a seat on the slot that an older claim waits for")
			l.Release()
		}
		y.Release()
		mustServe(t, second, "the second exclusive claim").Release()
	})
}

func TestSharedAcquiresNeverStarveAnExclusiveClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sharedPool(t, newVault(4), 2)
		// Eight who share, each back in line as soon as its lease has ended, so that
		// no slot would ever be empty by itself.
		stop := make(chan struct{})
		for i := range 8 {
			go func() {
				for {
					l, err := p.Acquire(context.Background())
					if err != nil {
						return
					}
					time.Sleep(time.Duration(70+i) * time.Millisecond)
					l.Release()
					select {
					case <-stop:
						return
					default:
					}
				}
			}()
		}
		time.Sleep(time.Second)
		began := time.Now()
		for range 10 {
			l := mustAcquire(t, p, AcquireOptions{Exclusive: true})
			l.Value().enter(true)
			l.Value().leave(true)
			l.Release()
		}
		if took := time.Since(began); took > 10*100*time.Millisecond {
			t.Errorf("ten exclusive claims took %v, while no lease was held longer than 77ms", took)
		}
		close(stop)
		time.Sleep(time.Second)
	})
}

// A claim must not wait for the probe of one slot while another is free.
func TestAnExclusiveClaimPrefersASlotThatNeedsNoProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(2)
		p, err := New(Config[*asset]{
			Open: v.open, Max: 2, ShareLimit: 2, ProbeAfterIdle: time.Minute, ProbeInterval: Off, ProbeTimeout: time.Hour,
			Probe: func(ctx context.Context, _ *asset) error {
				<-ctx.Done()
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		a, b := mustAcquire(t, p, AcquireOptions{Exclusive: true}), mustAcquire(t, p, AcquireOptions{Exclusive: true})
		a.Release()
		time.Sleep(2 * time.Minute) // the first is to be probed by now
		b.Release()
		got := inLine(t, p, context.Background(), AcquireOptions{Exclusive: true})
		mustServe(t, got, "the exclusive claim").Release()
	})
}

// A pin that takes another resource because its own has gone keeps its age: a slot
// that is kept for a younger claim has a seat for it.
func TestAReboundPinIsOlderThanALaterClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sharedPool(t, newVault(2), 2)
		kept := mustAcquire(t, p, AcquireOptions{Exclusive: true})
		pinned := mustAcquire(t, p, AcquireOptions{Exclusive: true, Key: "k"})
		kept.Release()
		kept = mustAcquire(t, p, AcquireOptions{})
		pin := inLine(t, p, context.Background(), AcquireOptions{Key: "k", Affinity: PinOrRebind})
		claim := inLine(t, p, context.Background(), AcquireOptions{Exclusive: true})
		if kept.slot.word.Load()&flagWatched == 0 {
			t.Fatal("the claim was to keep the other slot")
		}
		if err := p.Resize(context.Background(), 0, 1); err != nil { // the pinned slot is the last
			t.Fatal(err)
		}
		pinned.Discard(nil)
		mustServe(t, pin, "the older pin").Release()
		kept.Release()
		mustServe(t, claim, "the claim").Release()
	})
}

// The probe of a slot that is kept for an exclusive claim is of no use to others:
// the next who comes must have another slot probed.
func TestASlotKeptForAClaimIsNotWhatOthersWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(2)
		p, err := New(Config[*asset]{
			Open: v.open, Max: 2, ShareLimit: 2, ProbeAfterIdle: time.Minute, ProbeInterval: Off, ProbeTimeout: time.Hour,
			Probe: func(ctx context.Context, a *asset) error {
				if a.n == 1 {
					<-ctx.Done()
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		a, b := mustAcquire(t, p, AcquireOptions{Exclusive: true}), mustAcquire(t, p, AcquireOptions{Exclusive: true})
		a.Release()
		b.Release()
		time.Sleep(2 * time.Minute) // both are to be probed by now
		claim := inLine(t, p, context.Background(), AcquireOptions{Exclusive: true})
		got := inLine(t, p, context.Background(), AcquireOptions{})
		mustServe(t, claim, "the older claim").Release()
		mustServe(t, got, "the one who shares").Release()
	})
}
