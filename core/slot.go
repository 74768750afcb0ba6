package core

import (
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"
)

// The word of a slot is its whole state, so that one compare-and-swap takes or
// gives back a lease:
//
//	bits  0–11  leases carried now
//	bits 12–19  flags
//	bits 20–63  leases ever carried
//
// A slot whose flags are exactly flagLive may be leased by anybody without
// asking, and so may one that is also weak by who found no other. Every other
// combination sends the caller to the gate, under the lock.
const (
	leaseMask  = 1<<12 - 1
	flagMask   = 0xff << 12
	countShift = 20
	oneMore    = 1<<countShift + 1 // one lease more, now and ever

	flagLive     = 1 << 12 // there is a resource
	flagRetiring = 1 << 13 // no new lease; closed when the last one returns
	flagBusy     = 1 << 14 // the pool itself has it: a probe or a reset
	flagStale    = 1 << 15 // to be probed before the next lease
	flagAlone    = 1 << 16 // the one lease on it is an exclusive one
	flagWatched  = 1 << 17 // somebody waits for this very slot
	flagWeak     = 1 << 18 // leased only where nothing better is free
)

func leasesOf(w uint64) int { return int(w & leaseMask) }

// slot is a place for one resource at a time. It outlives its resources, so that
// leases of an earlier one are recognised for ever.
type slot[T Resource] struct {
	word atomic.Uint64
	_    [56]byte // what everybody tries to change, apart from what everybody reads

	res atomic.Pointer[resource[T]] // what is in it, or was last

	// Immutable after creation.
	pool  *Pool[T]
	index int // in the table
	row   *row
	seats seats

	// Guarded by the lock.
	base    uint64       // leases carried by its earlier resources
	own     []*waiter[T] // who waits for this very slot, oldest first
	cause   error        // what was wrong with its resource
	reason  CloseReason  // why it retires
	pledged bool         // retires for a waiter of another pool
	keys    *binding[T]  // the affinity keys bound to it; guarded by affinity.mu
	// What the keeper alone looks at comes last: it keeps the words of two slots apart.
	keep upkeep
}

// resource is one opened T and what the pool knows of it. It does not
// change once it is in a slot.
type resource[T Resource] struct {
	pool     *Pool[T]
	pres     *puddle.Resource[*resource[T]]
	value    T
	id       uint64
	openedAt int64         // on the pool's clock
	lifetime time.Duration // jitter already drawn
	probes   bool
	resets   bool

	// Why it is closed, set once before puddle is told to.
	reason CloseReason
	cause  error
}

func newSlot[T Resource](p *Pool[T], index int, r *row) *slot[T] {
	return &slot[T]{pool: p, index: index, row: r, seats: newSeats(p.share)}
}

// claim takes a lease if the flags are what the caller expects and fewer than
// limit leases are carried. It sets and clears flags in the same step.
func (s *slot[T]) claim(flags uint64, limit int, set, unset uint64) (Lease[T], bool) {
	for {
		w := s.word.Load()
		if w&flagMask != flags || leasesOf(w) >= limit {
			return Lease[T]{}, false
		}
		if s.word.CompareAndSwap(w, (w+oneMore)&^unset|set) {
			return s.sit(w + oneMore), true
		}
	}
}

// sit makes the lease for a place that was just won in the word, now w.
func (s *slot[T]) sit(w uint64) Lease[T] {
	if s.seats.single() {
		return Lease[T]{slot: s, token: w >> countShift << seatBits}
	}
	return Lease[T]{slot: s, token: s.seats.take(w>>countShift, leasesOf(w))}
}

// rise gives a lease back: it ends the lease if that is still the one its seat
// is held by, and otherwise changes nothing and reports false. In the same step
// it sets flags, and flagBusy as well if this was the last lease on a resource
// that is to be reset. It returns the word it left behind.
func (s *slot[T]) rise(token, set uint64, reset bool) (uint64, bool) {
	gen, i := token>>seatBits, token&(1<<seatBits-1)
	single := s.seats.single()
	if !single && !s.seats.at(i).word.CompareAndSwap(gen<<1|1, (gen+1)<<1) {
		return 0, false
	}
	for {
		w := s.word.Load()
		if single && (w>>countShift != gen || w&leaseMask == 0) {
			return 0, false
		}
		next := (w-1)&^flagAlone | set
		if next&leaseMask == 0 && reset && next&flagRetiring == 0 {
			next |= flagBusy
		}
		if s.word.CompareAndSwap(w, next) {
			s.row.freed(next)
			return next, true
		}
	}
}

// holds tells whether the lease with this token is still out.
func (s *slot[T]) holds(token uint64) bool {
	gen, i := token>>seatBits, token&(1<<seatBits-1)
	if s.seats.single() {
		w := s.word.Load()
		return w>>countShift == gen && w&leaseMask != 0
	}
	return s.seats.at(i).word.Load() == gen<<1|1
}

// tokens calls f with the token of every lease that is out.
func (s *slot[T]) tokens(f func(token uint64)) {
	if s.seats.single() {
		if w := s.word.Load(); w&leaseMask != 0 {
			f(w >> countShift << seatBits)
		}
		return
	}
	s.seats.held(f)
}

// mark sets and clears flags, and returns the word before and after.
func (s *slot[T]) mark(set, unset uint64) (before, after uint64) {
	for {
		w := s.word.Load()
		if next := w&^unset | set; s.word.CompareAndSwap(w, next) {
			s.row.freed(next)
			return w, next
		}
	}
}

// seize takes an idle slot for the pool itself; it fails if somebody leased it
// meanwhile. flags are those it must have.
func (s *slot[T]) seize(flags uint64) bool {
	w := s.word.Load()
	return w&flagMask == flags && w&leaseMask == 0 &&
		s.word.CompareAndSwap(w, w&^flagStale|flagBusy)
}
