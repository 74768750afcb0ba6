package core

import (
	"context"
	"testing"
)

func hintPool(t *testing.T, size int) *Pool[*thing] {
	t.Helper()
	w := &workshop{}
	cfg := w.config(size)
	cfg.Min = size
	p := newThings(t, cfg)
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustTake(t *testing.T, p *Pool[*thing]) Lease[*thing] {
	t.Helper()
	l, err := p.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Without a race nobody begins anywhere but at the first slot, so that what is
// beyond need goes idle.
func TestSlotsFillFromTheFirstWhereNobodyRaces(t *testing.T) {
	t.Parallel()
	p := hintPool(t, 4)
	for range 3 {
		var leases []Lease[*thing]
		for i := range 4 {
			l := mustTake(t, p)
			if l.slot != p.slots()[i] {
				t.Fatalf("lease %d is on slot %d", i, l.slot.index)
			}
			leases = append(leases, l)
		}
		for _, l := range leases {
			l.Release()
		}
	}
	if p.hints.Load() != nil {
		t.Error("hints were made although nobody raced")
	}
}

// A hint is only where to look first: one that names a taken slot, or none that
// exists, finds the next free one, and is forgotten where nobody races any more.
func TestAHintIsOnlyAPlaceToLookFirst(t *testing.T) {
	t.Parallel()
	p := hintPool(t, 4)
	slots := p.slots()
	var once []Lease[*thing] // a slot never leased is one of those where a hint is doubted
	for range slots {
		once = append(once, mustTake(t, p))
	}
	for _, l := range once {
		l.Release()
	}
	p.hint(slots[2], true)
	for i := range p.hints.Load() { // whichever is mine: the stack may have moved
		p.hints.Load()[i].slot.Store(3)
	}
	hinted := mustTake(t, p)
	if hinted.slot != slots[2] {
		t.Errorf("the hinted slot was free, and %d was taken", hinted.slot.index)
	}
	other := mustTake(t, p)
	if other.slot != slots[0] {
		t.Errorf("the hinted slot was taken, and %d was found", other.slot.index)
	}
	other.Release()
	hinted.Release()
	for i := range p.hints.Load() {
		p.hints.Load()[i].slot.Store(99)
	}
	if l := mustTake(t, p); l.slot != slots[0] {
		t.Errorf("the hint named no slot, and %d was found", l.slot.index)
	} else {
		l.Release()
	}
}

// Nobody stays with a hint for ever: now and then the search begins at the first
// slot again.
func TestAHintIsDoubtedNowAndThen(t *testing.T) {
	t.Parallel()
	p := hintPool(t, 2)
	p.hint(p.slots()[1], true)
	hints := p.hints.Load()
	first := false
	for range 2 * hintLeases {
		for i := range hints {
			hints[i].slot.CompareAndSwap(0, 2)
		}
		l := mustTake(t, p)
		first = first || l.slot == p.slots()[0]
		l.Release()
	}
	if !first {
		t.Errorf("%d leases all began at the hint", 2*hintLeases)
	}
}
