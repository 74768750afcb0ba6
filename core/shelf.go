package core

// table is the slots of a pool, in the order they are filled. Readers take it as
// it is; whoever changes it, under the lock, publishes another.
type table[T Resource] struct {
	slots    []*slot[T]
	acquired uint64 // leases ever carried by slots no longer in it
}

func (p *Pool[T]) slots() []*slot[T] { return p.table.Load().slots }

// take leases a free seat that nobody has a better claim to.
func (p *Pool[T]) take() (Lease[T], bool) {
	slots := p.table.Load().slots
	if p.share > 1 {
		return p.takeShared(slots)
	}
	for _, s := range slots {
		w := s.word.Load()
		if w&(flagMask|leaseMask) == flagLive && s.word.CompareAndSwap(w, w+oneMore) {
			return Lease[T]{slot: s, token: (w + oneMore) >> countShift << seatBits}, true
		}
	}
	return Lease[T]{}, false
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
	p.grow = true
	p.hub.demandLocked(p)
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
	s := newSlot(p)
	p.table.Store(&table[T]{slots: append(t.slots, s), acquired: t.acquired})
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
		p.table.Store(&table[T]{slots: t.slots[:n:n], acquired: acquired})
	}
}
