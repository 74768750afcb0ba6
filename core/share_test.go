package core

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// shared is a pool of things that carry several leases.
func shared(t *testing.T, size, share, growAt int) (*Pool[*thing], *workshop) {
	t.Helper()
	w := &workshop{}
	cfg := w.config(size)
	cfg.ShareLimit, cfg.GrowAt = share, growAt
	return newThings(t, cfg), w
}

// loads returns how many leases each resource carries, in the order of the slots.
func loads(p *Pool[*thing]) []int {
	var n []int
	for _, info := range p.Snapshot() {
		n = append(n, info.Leases)
	}
	return n
}

func wantLoads(t *testing.T, p *Pool[*thing], what string, want ...int) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, loads(p)); diff != "" {
		t.Errorf("%s, leases by resource (-want +got):\n%s", what, diff)
	}
}

func TestSharedSlotsFillToGrowAtInOrderThenEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := shared(t, 2, 6, 3)
		var leases []Lease[*thing]
		take := func(n int) {
			for range n {
				leases = append(leases, with(t, p, AcquireOptions{}))
				synctest.Wait()
			}
		}
		take(3)
		wantLoads(t, p, "below GrowAt", 3)
		take(1) // past it: a seat now, and another resource in the background
		wantLoads(t, p, "past GrowAt", 4, 0)
		if w.made.Load() != 2 {
			t.Errorf("%d resources were opened, want 2", w.made.Load())
		}
		take(3)
		wantLoads(t, p, "the second below GrowAt", 4, 3)
		take(1)
		wantLoads(t, p, "all at GrowAt: the least loaded", 4, 4)
		take(4)
		wantLoads(t, p, "all full", 6, 6)
		if _, ok := p.TryAcquire(t.Context()); ok {
			t.Error("a thirteenth lease on two resources with six seats")
		}
		for _, l := range leases[:5] {
			l.Release()
		}
		take(1)
		wantLoads(t, p, "after releases the first below GrowAt again", 3, 5)
		leases[5].Release() // of the second
		take(1)
		wantLoads(t, p, "all at GrowAt again: the least loaded, which is the first", 4, 4)
		releaseAll(leases)
		wantLoads(t, p, "at the end", 0, 0)
		if w.made.Load() != 2 {
			t.Errorf("%d resources were opened, Max is 2", w.made.Load())
		}
	})
}

func TestSharedPoolGrowsOncePerOpenHoweverManyAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{delay: 1}
		cfg := w.config(10)
		cfg.ShareLimit, cfg.GrowAt = 8, 1
		p := newThings(t, cfg)
		leases := fill(t, p, 1)
		for range 7 { // the first resource only, and one open in the background
			leases = append(leases, with(t, p, AcquireOptions{}))
		}
		if s := p.Stats(); s.Opening != 1 || s.Live != 1 {
			t.Errorf("%d alive and %d opening, want 1 and 1", s.Live, s.Opening)
		}
		releaseAll(leases)
	})
}

func TestSharedWaitersGetASeatEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := shared(t, 1, 3, 0)
		leases := fill(t, p, 3)
		var line []*promise
		for range 4 {
			line = append(line, ask(t.Context(), p, AcquireOptions{}))
		}
		releaseAll(leases)
		for i, w := range line {
			w.check(t, fmt.Sprint("waiter ", i), i < 3)
		}
		line[0].lease.Release()
		line[3].check(t, "the last", true)
		for _, w := range line {
			w.lease.Release()
		}
	})
}

func TestExclusiveClaimIsNotStarvedByShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := shared(t, 2, 4, 4)
		leases := fill(t, p, 6)
		synctest.Wait()
		wantLoads(t, p, "before", 4, 2)
		alone := ask(t.Context(), p, AcquireOptions{Exclusive: true})
		if _, ok := p.TryAcquire(t.Context()); ok {
			t.Error("a seat on the reserved resource was leased")
		}
		younger := ask(t.Context(), p, AcquireOptions{})
		leases[4].Release()
		alone.check(t, "the exclusive claim, while a lease is left", false)
		younger.check(t, "a younger waiter, while the seat is reserved", false)
		leases[0].Release() // of the other resource
		younger.check(t, "a younger waiter", true)
		leases[5].Release()
		alone.check(t, "the exclusive claim", true)
		wantLoads(t, p, "with the claim served", 4, 1)
		if _, ok := p.TryAcquire(t.Context()); ok {
			t.Error("a lease beside an exclusive one")
		}
		alone.lease.Release()
		leases = append(leases, fill(t, p, 4)...)
		releaseAll(leases)
		younger.lease.Release()
	})
}

func TestSharedWaitersAreNotStarvedByExclusiveClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := shared(t, 1, 3, 0)
		l := with(t, p, AcquireOptions{Exclusive: true})
		one := ask(t.Context(), p, AcquireOptions{})
		alone := ask(t.Context(), p, AcquireOptions{Exclusive: true})
		two := ask(t.Context(), p, AcquireOptions{})
		alone2 := ask(t.Context(), p, AcquireOptions{Exclusive: true})
		l.Release()
		one.check(t, "the older shared waiter", true)
		two.check(t, "the shared waiter behind the claim", false)
		one.lease.Release()
		alone.check(t, "the claim", true)
		two.check(t, "the shared waiter behind the claim", false)
		alone.lease.Release()
		two.check(t, "the shared waiter, after the claim", true)
		alone2.check(t, "the second claim", false)
		two.lease.Release()
		alone2.check(t, "the second claim", true)
		alone2.lease.Release()
	})
}

func TestReservationIsGivenBackWhenItsClaimantLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := shared(t, 1, 3, 0)
		leases := fill(t, p, 2)
		ctx, cancel := context.WithCancel(t.Context())
		alone := ask(ctx, p, AcquireOptions{Exclusive: true})
		behind := ask(t.Context(), p, AcquireOptions{})
		behind.check(t, "the shared waiter, while the seat is reserved", false)
		cancel()
		behind.check(t, "the shared waiter, after the claimant left", true)
		if !errors.Is(alone.err, context.Canceled) {
			t.Errorf("the claimant got %v", alone.err)
		}
		behind.lease.Release()
		leases = append(leases, fill(t, p, 1)...) // on the fast path again
		if _, err := p.AcquireWith(t.Context(), AcquireOptions{Exclusive: true, NoWait: true}); !errors.Is(err, ErrExhausted) {
			t.Errorf("an exclusive claim that must not wait: %v", err)
		}
		releaseAll(leases)
		leases = fill(t, p, 3)
		releaseAll(leases)
		if w := p.slots()[0].word.Load(); w&flagMask != flagLive {
			t.Errorf("flags of the slot at the end: %#x", w&flagMask)
		}
	})
}

func TestExclusiveLeaseIsAloneUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := shared(t, 2, 4, 0)
		alone := with(t, p, AcquireOptions{Exclusive: true, Key: "k"})
		for range 4 {
			defer with(t, p, AcquireOptions{}).Release()
		}
		wantLoads(t, p, "beside an exclusive lease", 1, 4)
		pin := ask(t.Context(), p, AcquireOptions{Key: "k", Affinity: Pin})
		pin.check(t, "a pin on the exclusive one", false)
		alone.Release()
		pin.check(t, "the pin, after the exclusive lease", true)
		defer pin.lease.Release()
		if w.made.Load() != 2 {
			t.Errorf("%d opened", w.made.Load())
		}
	})
}

func TestPinsShareTheirResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := shared(t, 3, 2, 2)
		pin := AcquireOptions{Key: "k", Affinity: Pin}
		one, two := with(t, p, pin), with(t, p, pin)
		three := ask(t.Context(), p, pin)
		alone := ask(t.Context(), p, AcquireOptions{Key: "k", Affinity: Pin, Exclusive: true})
		four := ask(t.Context(), p, pin)
		three.check(t, "a third pin on two seats", false)
		one.Release()
		three.check(t, "the third pin", true)
		two.Release()
		four.check(t, "a pin behind the exclusive one", false)
		three.lease.Release()
		alone.check(t, "the exclusive pin", true)
		if alone.lease.ID() != 1 {
			t.Errorf("it has resource %d", alone.lease.ID())
		}
		alone.lease.Release()
		four.check(t, "the pin behind it", true)
		four.lease.Release()
	})
}

func TestExclusivePinIsLostOrTakesAnotherAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := shared(t, 2, 2, 2)
		l := with(t, p, AcquireOptions{Key: "k"})
		id := l.ID()
		pin := ask(t.Context(), p, AcquireOptions{Key: "k", Affinity: Pin, Exclusive: true})
		rebind := ask(t.Context(), p, AcquireOptions{Key: "k", Affinity: PinOrRebind, Exclusive: true})
		l.Discard(nil)
		pin.lost(t, "k", id)
		rebind.check(t, "the one that may rebind", true)
		if !rebind.done || rebind.lease.ID() == id {
			t.Fatalf("it has resource %d", rebind.lease.ID())
		}
		wantLoads(t, p, "after rebinding", 1)
		if w := rebind.lease.slot.word.Load(); w&flagAlone == 0 {
			t.Error("it is not alone")
		}
		rebind.lease.Release()
	})
}

func TestStaleLeasesOfSharedSeatsOnlyCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := shared(t, 1, 3, 0)
		leases := fill(t, p, 3)
		var stale uint64
		misuse := func(l Lease[*thing]) {
			l.Release()
			l.Discard(errors.New("no"))
			if _, err := l.Detach(); !errors.Is(err, ErrReleased) {
				t.Errorf("Detach of an ended lease: %v", err)
			}
			stale += 3
			if l.Value() != nil || l.ID() != 0 || l.ResourceAge() != 0 {
				t.Error("an ended lease still tells of a resource")
			}
		}
		for range 20 {
			i := rand.IntN(3)
			old := leases[i]
			old.Release()
			misuse(old)
			leases[i] = with(t, p, AcquireOptions{}) // the same seat
			misuse(old)
			for _, l := range leases {
				if l.Value() == nil {
					t.Fatal("a stale release ended another lease")
				}
			}
		}
		if s := p.Stats(); s.StaleReleases != stale || s.Leased != 3 || s.Acquired != 23 || s.Released != 20 {
			t.Errorf("%d stale (want %d), %d leased, %d acquired, %d released", s.StaleReleases, stale, s.Leased, s.Acquired, s.Released)
		}
		old := leases[0]
		old.Discard(nil)
		releaseAll(leases[1:])
		synctest.Wait()
		fresh := with(t, p, AcquireOptions{}) // another resource in the same slot
		misuse(old)
		if fresh.Value() == nil || w.made.Load() != 2 {
			t.Error("a lease of an earlier resource touched a later one")
		}
		fresh.Release()
	})
}

func TestDiscardOfASharedResourceSparesTheOtherLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := shared(t, 2, 3, 3)
		leases := fill(t, p, 3)
		leases[0].Discard(nil)
		next := with(t, p, AcquireOptions{})
		if next.ID() == leases[1].ID() {
			t.Error("a discarded resource was leased")
		}
		synctest.Wait()
		if leases[1].Value() == nil || leases[1].Value().closed.Load() {
			t.Error("a shared resource was closed under another holder")
		}
		leases[1].Release()
		leases[2].Release()
		synctest.Wait()
		if w.alive.Load() != 1 {
			t.Errorf("%d alive, want the new one only", w.alive.Load())
		}
		next.Release()
	})
}

func TestSharedSeatsAreNeverGivenTwiceConcurrentSafe(t *testing.T) {
	t.Parallel()
	p, _ := shared(t, 3, 4, 2)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 200 {
				alone := rand.IntN(8) == 0
				o := AcquireOptions{Exclusive: alone}
				if rand.IntN(3) == 0 {
					o.Key, o.Affinity = fmt.Sprint(rand.IntN(4)), PinOrRebind
				}
				l := with(t, p, o)
				share := int32(4)
				if alone {
					share = 1
				}
				occupy(t, l, "", share)
				if rand.IntN(40) == 0 {
					l.Discard(nil)
				}
				l.Release()
			}
		})
	}
	all.Wait()
	if s := p.Stats(); s.Leased != 0 || s.Acquired < 16*200 || s.Acquired != s.Released {
		t.Errorf("at the end: %+v", s)
	}
}
