package core

// At the limit over all pools of a hub an open has to wait for a place that
// another pool gives up: an idle resource of the coldest pool now, or else the
// next one that is released while the oldest waiter belongs elsewhere. Whoever
// starves is announced before the idle resources are looked at, and a release
// looks for the announcement after it has parked its slot: none is overlooked.

// starveLocked announces how many opens want a place, and takes idle resources for
// them, as many as are not on their way already. REQUIRES: the lock.
func (h *hub[T]) starveLocked() {
	short := max(h.places-h.maxPlaces, 0)
	if h.places >= h.maxPlaces {
		for _, p := range h.hungry {
			if p.oldestLocked() != ^uint64(0) {
				short += p.needLocked()
			}
		}
	}
	if int(h.starved.Load()) != short {
		h.starved.Store(int32(short))
	}
	for short > h.closing && h.stealLocked() {
		continue
	}
}

// stealLocked closes an idle resource of the pool that was used least recently,
// one beyond its Min if any pool has such. REQUIRES: the lock.
func (h *hub[T]) stealLocked() bool {
	var victim *slot[T]
	spare := false
	for _, p := range h.pools {
		if p.hungry && p.oldestLocked() != ^uint64(0) {
			continue
		}
		p.glanceLocked(h.lastGlance)
		extra := p.usableLocked() > p.min
		if victim != nil && (spare && !extra || spare == extra && p.usedAt >= victim.pool.usedAt) {
			continue
		}
		if s := p.lastIdleLocked(); s != nil {
			victim, spare = s, extra
		}
	}
	return victim != nil && victim.pool.retireIdleLocked(victim, ReasonReassigned)
}

// lastIdleLocked returns the last slot that could be closed at once, or nil.
// REQUIRES: the lock.
func (p *Pool[T]) lastIdleLocked() *slot[T] {
	slots := p.slots()
	for i := len(slots) - 1; i >= 0; i-- {
		if w := slots[i].word.Load(); w&(flagLive|flagRetiring|flagBusy|flagWatched|leaseMask) == flagLive {
			return slots[i]
		}
	}
	return nil
}

// reassignLocked closes s, which is idle, if the oldest who could use its place
// waits in another pool. REQUIRES: the lock.
func (h *hub[T]) reassignLocked(s *slot[T]) bool {
	if int(h.starved.Load()) <= h.closing {
		return false
	}
	oldest := ^uint64(0)
	for _, p := range h.hungry {
		if p != s.pool {
			oldest = min(oldest, p.oldestLocked())
		}
	}
	over := h.places-h.closing > h.maxPlaces
	if next := s.pool.nextForLocked(s, true); next != nil && next.seq < oldest && !over {
		return false
	}
	if oldest == ^uint64(0) && !over {
		return false
	}
	return s.pool.retireIdleLocked(s, ReasonReassigned)
}

// glanceLocked notes that p was used if its leases moved since the last glance.
// REQUIRES: the lock.
func (p *Pool[T]) glanceLocked(at int64) {
	t := p.table.Load()
	moves := t.acquired
	leased := 0
	for _, s := range t.slots {
		w := s.word.Load()
		moves += w >> countShift
		leased += leasesOf(w)
	}
	if moves != p.moves || leased > 0 || p.queue.len+p.side.len > 0 {
		p.moves, p.usedAt = moves, at
	}
}
