package core

import "sync/atomic"

// table is the slots of a pool, in the order they are filled. Readers take it as
// it is; whoever changes it, under the lock, publishes another.
type table[T Resource] struct {
	slots    []*slot[T]
	rows     []*row // of rowSize slots each
	acquired uint64 // leases ever carried by slots no longer in it
}

// rowSize is how many slots make a row.
const rowSize = 32

// row spares a large pool from looking at slots that are all taken. A scan that
// found nothing in a row says so first and looks once more after; a slot that
// becomes free is free first, and looks whether that was said after. One of the
// two sees the other, so a row with a free slot does not stay marked.
type row struct {
	_    [64]byte
	full atomic.Bool
	_    [64]byte
}

// freed takes the mark away, if w, the word of a slot in the row, is a free one's.
func (r *row) freed(w uint64) {
	if r.full.Load() && w&(flagMask|leaseMask) == flagLive {
		r.full.Store(false)
	}
}

func (p *Pool[T]) slots() []*slot[T] { return p.table.Load().slots }

// take leases a free seat that nobody has a better claim to.
func (p *Pool[T]) take() (Lease[T], bool) {
	t := p.table.Load()
	if p.share > 1 {
		if l, ok := p.takeShared(t.slots); ok {
			return l, true
		}
		return p.takeWeak()
	}
	hints := p.hints.Load()
	if hints != nil {
		if l, ok := t.takeHinted(hints.mine()); ok {
			return l, true
		}
	}
	for i, r := range t.rows {
		if r.full.Load() {
			continue
		}
		slots := t.slots[i*rowSize : min((i+1)*rowSize, len(t.slots))]
		l, raced, ok := takeFrom(slots)
		if ok {
			if raced || hints != nil {
				p.hint(l.slot, raced)
			}
			return l, true
		}
		if len(t.rows) > 1 {
			r.full.Store(true)
			// Look at the row as it is now: it may have got a slot meanwhile.
			now := p.table.Load().slots
			slots = now[min(i*rowSize, len(now)):min((i+1)*rowSize, len(now))]
			if l, _, ok := takeFrom(slots); ok { // freed in between
				r.full.Store(false)
				return l, true
			}
		}
	}
	return p.takeWeak()
}

// takeWeak leases the least loaded of the slots that nobody prefers. A slot is
// counted as weak before it can be leased as one: who saw no count was first, and
// looks again once it stands in line.
func (p *Pool[T]) takeWeak() (Lease[T], bool) {
	for p.weak.Load() != 0 {
		var best *slot[T]
		least := p.share
		for _, s := range p.slots() {
			if w := s.word.Load(); w&flagMask == flagLive|flagWeak && leasesOf(w) < least {
				best, least = s, leasesOf(w)
			}
		}
		if best == nil {
			break
		}
		if l, ok := best.claim(flagLive|flagWeak, least+1, 0, 0); ok {
			return l, true
		}
	}
	return Lease[T]{}, false
}

// takeFrom leases the first free one of some exclusive slots, and tells whether
// somebody was faster at another.
func takeFrom[T Resource](slots []*slot[T]) (l Lease[T], raced, ok bool) {
	for _, s := range slots {
		w := s.word.Load()
		if w&(flagMask|leaseMask) != flagLive {
			continue
		}
		if s.word.CompareAndSwap(w, w+oneMore) {
			return Lease[T]{slot: s, token: (w + oneMore) >> countShift << seatBits}, raced, true
		}
		raced = true
	}
	return Lease[T]{}, raced, false
}

// takeShared takes a seat on the first slot that carries fewer leases than GrowAt,
// else on the least loaded one, in which case it asks for another resource.
func (p *Pool[T]) takeShared(slots []*slot[T]) (Lease[T], bool) {
	for {
		var best *slot[T]
		least := p.share
		for _, s := range slots {
			w := s.word.Load()
			if n := leasesOf(w); w&flagMask == flagLive && n < least {
				if n < p.growAt {
					if l, ok := s.claim(flagLive, p.growAt, 0, 0); ok {
						return l, true
					}
					continue
				}
				best, least = s, n
			}
		}
		if best == nil {
			return Lease[T]{}, false
		}
		if l, ok := best.claim(flagLive, least+1, 0, 0); ok {
			return l, true
		}
	}
}

// growFor asks for another resource in the background if l had to be a seat past
// GrowAt, which says that every other resource carries as many.
func (p *Pool[T]) growFor(l Lease[T]) {
	if !p.growable.Load() || leasesOf(l.slot.word.Load()) <= p.growAt {
		return
	}
	p.hub.lock()
	p.hub.demandLocked(p)
	if p.growable.Load() { // still: a wish that cannot be met at once is not kept
		p.grow = true
		p.hub.demandLocked(p)
	}
	p.hub.unlock()
}

// vacantLocked returns the first slot without a resource, a new one if need be.
// REQUIRES: the lock.
func (p *Pool[T]) vacantLocked() *slot[T] {
	t := p.table.Load()
	for _, s := range t.slots {
		if s.word.Load()&flagMask == 0 {
			return s
		}
	}
	rows := t.rows
	if len(t.slots)%rowSize == 0 {
		rows = append(rows, &row{})
	}
	s := newSlot(p, len(t.slots), rows[len(rows)-1])
	p.table.Store(&table[T]{slots: append(t.slots, s), rows: rows, acquired: t.acquired})
	return s
}

// trimTableLocked drops the slots past Max that are empty, which a shrink leaves
// behind. Leases of theirs stay recognisably stale. REQUIRES: the lock.
func (p *Pool[T]) trimTableLocked() {
	t := p.table.Load()
	n, acquired := len(t.slots), t.acquired
	for n > p.max && t.slots[n-1].word.Load()&flagMask == 0 {
		n--
		acquired += t.slots[n].word.Load() >> countShift
		p.keys.forget(t.slots[n])
	}
	if n < len(t.slots) {
		// The capacity is cut too: appending must not write where readers of the
		// longer table still look.
		rows := (n + rowSize - 1) / rowSize
		p.table.Store(&table[T]{slots: t.slots[:n:n], rows: t.rows[:rows:rows], acquired: acquired})
	}
}
