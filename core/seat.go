package core

import "sync/atomic"

// seat is the right to one lease on a slot. On a slot with a single seat the
// slot's word is the seat's too: its count is the generation. On a shared slot
// each seat counts its own.
type seat struct {
	word  atomic.Uint64 // generation<<1 | held
	since atomic.Int64  // when it was taken; kept only if somebody wants to know
	stack atomic.Pointer[[]uintptr]
}

// seats are those of one slot. A slot that many may share has most of its seats
// made when leases first reach for them, a chunk at a time, and keeps them: their
// generations have to outlive whatever leased them.
type seats struct {
	// Immutable after creation.
	n     int    // how many there may be
	first []seat // there from the beginning
	later []atomic.Pointer[[seatChunk]seat]
}

// seatChunk is how many seats are made at a time.
const seatChunk = 16

func newSeats(n int) seats {
	s := seats{n: n, first: make([]seat, min(n, seatChunk))}
	if n > seatChunk {
		s.later = make([]atomic.Pointer[[seatChunk]seat], (n-1)/seatChunk)
	}
	return s
}

// single tells whether the slot's word is its only seat's too.
func (s *seats) single() bool { return s.n == 1 }

// at returns the seat that a token names, which is there because the token is.
func (s *seats) at(i uint64) *seat {
	if i < uint64(len(s.first)) {
		return &s.first[i]
	}
	return &s.later[i/seatChunk-1].Load()[i%seatChunk]
}

// reach returns a seat that may have to be made.
func (s *seats) reach(i int) *seat {
	if i < len(s.first) {
		return &s.first[i]
	}
	chunk := &s.later[i/seatChunk-1]
	c := chunk.Load()
	if c == nil {
		// Whoever comes second uses what the first put there.
		chunk.CompareAndSwap(nil, new([seatChunk]seat))
		c = chunk.Load()
	}
	return &c[i%seatChunk]
}

// take takes a free seat for one of the leases that the slot's word counts, and
// returns its token. start is where to look first, anything.
//
// A seat is freed before its place in the word is, so whoever won a place finds a
// free seat among all; others racing for theirs can only make it another one. Looked
// at are twice as many as there are leases, so that about every second one is free,
// and more when a whole round found none: others came meanwhile, or the leases that
// are left have the seats that come first.
func (s *seats) take(start uint64, leases int) (token uint64) {
	n := s.n
	if n > seatChunk {
		n = min(n, (2*leases+seatChunk-1)/seatChunk*seatChunk)
	}
	for i, tried := int(start%uint64(n)), 0; ; i, tried = i+1, tried+1 {
		if tried >= n {
			n, tried = min(n+seatChunk, s.n), 0
		}
		if i >= n {
			i = 0
		}
		t := s.reach(i)
		if g := t.word.Load(); g&1 == 0 && t.word.CompareAndSwap(g, g|1) {
			return g>>1<<seatBits | uint64(i)
		}
	}
}

// held calls f with the token of every seat that is taken.
func (s *seats) held(f func(token uint64)) {
	look := func(from int, some []seat) {
		for i := range some {
			if g := some[i].word.Load(); g&1 == 1 {
				f(g>>1<<seatBits | uint64(from+i))
			}
		}
	}
	look(0, s.first)
	for k := range s.later {
		if c := s.later[k].Load(); c != nil {
			look((k+1)*seatChunk, c[:])
		}
	}
}
