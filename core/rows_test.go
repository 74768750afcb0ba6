package core

import (
	"context"
	"sync"
	"testing"
)

// A scan may mark a row as full while a slot is added to it. The row must not stay
// marked: whoever comes next would not find the free slot.
func TestANewSlotIsNeverHiddenByAScanConcurrentSafe(t *testing.T) {
	t.Parallel()
	v := newVault(1)
	p, err := New(Config[*asset]{Open: v.open, Max: 2 * rowSize})
	if err != nil {
		t.Fatal(err)
	}
	var leases []Lease[*asset]
	for range rowSize + 1 { // the second row has room for more
		leases = append(leases, mustAcquire(t, p, AcquireOptions{}))
	}
	before := p.table.Load()
	res := leases[0].slot.res.Load()
	for range 2000 {
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range 2 {
			wg.Go(func() {
				<-begin
				for range 3 {
					if l, ok := p.take(); ok {
						l.Release()
					}
				}
			})
		}
		close(begin)
		p.hub.lock()
		s := p.vacantLocked()
		s.res.Store(res)
		s.mark(flagLive, 0)
		p.hub.unlock()
		wg.Wait()
		if w := s.word.Load(); s.row.full.Load() && w&(flagMask|leaseMask) == flagLive {
			t.Error("a row is marked full, and has a free slot")
			break
		}
		p.table.Store(before) // as it was, and the row unmarked
		s.row.full.Store(false)
	}
	p.table.Store(before)
	for _, l := range leases {
		l.Release()
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
