package core

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// made counts the chunks that there are beyond the first.
func (s *seats) made() (n int) {
	for i := range s.later {
		if s.later[i].Load() != nil {
			n++
		}
	}
	return n
}

func TestEveryLeaseOfASlotHasASeatOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, share := range []int{2, seatChunk - 1, seatChunk, seatChunk + 1, 2 * seatChunk, 2*seatChunk + 1, 500, 1<<seatBits - 1} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			t.Parallel()
			p, _ := shared(t, 1, share, share)
			mustTake(t, p).Release()
			s := p.slots()[0]
			for round := range 3 {
				leases := make([]Lease[*thing], share)
				seen := make(map[uint64]bool)
				for i := range leases {
					leases[i] = mustTake(t, p)
					seen[leases[i].token] = true
				}
				if _, ok := p.TryAcquire(t.Context()); ok {
					t.Error("one lease more than seats")
				}
				out := 0
				s.tokens(func(token uint64) {
					if !seen[token] {
						t.Errorf("token %#x is nobody's", token)
					}
					out++
				})
				if len(seen) != share || out != share {
					t.Errorf("round %d: %d tokens, %d seats taken, want %d", round, len(seen), out, share)
				}
				for _, l := range leases {
					l.Release()
					l.Release()
					if l.Value() != nil {
						t.Error("a lease is still good after its end")
					}
				}
			}
			if st := p.Stats(); st.StaleReleases != uint64(3*share) || st.Leased != 0 {
				t.Errorf("%d stale releases and %d leases, want %d and none", st.StaleReleases, st.Leased, 3*share)
			}
		})
	}
}

func TestSeatsAreMadeWhenLeasesReachForThem(t *testing.T) {
	t.Parallel()
	p, _ := shared(t, 1, 500, 500)
	mustTake(t, p).Release()
	s := p.slots()[0]
	for range 1000 {
		mustTake(t, p).Release()
	}
	if n := s.seats.made(); n != 0 {
		t.Errorf("%d chunks made for one lease at a time", n)
	}
	var leases []Lease[*thing]
	for range 100 {
		leases = append(leases, mustTake(t, p))
	}
	if n := s.seats.made(); n > 2*100/seatChunk {
		t.Errorf("%d chunks made for 100 leases", n)
	}
	// The leases that are left have the seats that come first, so that a new one has
	// to look further than at twice as many as there are leases.
	for i := len(leases) - 1; i >= seatChunk/2; i-- {
		leases[i].Release()
	}
	leases = leases[:seatChunk/2]
	for range 3 * seatChunk {
		leases = append(leases, mustTake(t, p))
	}
	for _, l := range leases {
		l.Release()
	}
}

// A place in the word may be won by somebody who is slow to sit down. Who comes
// later finds a seat all the same, further on.
func TestATakerFindsASeatWhereThoseInReachAreTaken(t *testing.T) {
	t.Parallel()
	s := newSeats(100)
	seen := make(map[uint64]bool)
	for range 100 {
		seen[s.take(3, 1)] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d seats for 100", len(seen))
	}
}

func TestSeatsAreTakenByOneEachConcurrentSafe(t *testing.T) {
	t.Parallel()
	const share = 3*seatChunk + 5
	p, _ := shared(t, 1, share, share)
	users := make([]atomic.Int32, share)
	var wg sync.WaitGroup
	for range 2 * share {
		wg.Go(func() {
			var last Lease[*thing]
			for range 50 {
				l, err := p.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				seat := &users[l.token&(1<<seatBits-1)]
				if n := seat.Add(1); n != 1 {
					t.Errorf("a seat has %d leases", n)
				}
				last.Release() // one that has ended takes nobody's seat away
				if l.Value() == nil {
					t.Error("a lease has ended by itself")
				}
				seat.Add(-1)
				l.Release()
				last = l
			}
		})
	}
	wg.Wait()
	if st := p.Stats(); st.Leased != 0 {
		t.Errorf("%d leases are left", st.Leased)
	}
}
