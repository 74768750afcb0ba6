package core

import (
	"sync/atomic"
	"unsafe"
)

// hints keep processors off each other's slots. Everybody looks for a free slot
// from the first on, so that what is beyond need goes idle; but when two do that at
// the same moment again and again, most of the cost is the first slot's word moving
// between them. A goroutine that lost such a race remembers the slot it got instead
// and begins there, until that slot has been leased hintLeases times more or so.
// A hint is only a place to look first: a wrong one costs one look.
type hints [64]struct {
	slot atomic.Uint32 // index + 1; 0 is none
	_    [60]byte
}

const hintLeases = 256 // a power of two

// mine returns the hint of the calling goroutine, or one it shares. Goroutines are
// told apart by where their stacks are.
func (h *hints) mine() *atomic.Uint32 {
	var here byte
	stack := uint64(uintptr(unsafe.Pointer(&here))) >> 11 //nolint:gosec // an address to tell stacks apart, never followed
	return &h[stack*0x9e3779b97f4a7c15>>58].slot
}

// takeHinted leases the slot that the caller's hint names, if that is free.
func (t *table[T]) takeHinted(hint *atomic.Uint32) (Lease[T], bool) {
	i := int(hint.Load())
	if i == 0 || i > len(t.slots) {
		return Lease[T]{}, false
	}
	s := t.slots[i-1]
	w := s.word.Load()
	if w&(flagMask|leaseMask) != flagLive || w>>countShift%hintLeases == 0 || !s.word.CompareAndSwap(w, w+oneMore) {
		return Lease[T]{}, false
	}
	return Lease[T]{slot: s, token: (w + oneMore) >> countShift << seatBits}, true
}

// hint notes which slot the caller got, if it lost a race for another.
func (p *Pool[T]) hint(s *slot[T], raced bool) {
	h := p.hints.Load()
	if h == nil {
		if !raced {
			return
		}
		p.hints.CompareAndSwap(nil, new(hints))
		h = p.hints.Load()
	}
	i := uint32(0)
	if raced {
		i = uint32(s.index + 1)
	}
	if mine := h.mine(); mine.Load() != i {
		mine.Store(i)
	}
}
