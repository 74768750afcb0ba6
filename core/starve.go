package core

import (
	"cmp"
	"slices"
)

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
	spare, now := false, h.now()
	for _, p := range h.pools {
		if p.hungry && p.oldestLocked() != ^uint64(0) {
			continue
		}
		p.glanceLocked(now)
		extra := p.usableLocked() > p.min
		if victim != nil && (spare && !extra || spare == extra && !p.colderLocked(victim.pool)) {
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
	for _, s := range slices.Backward(p.slots()) {
		if w := s.word.Load(); w&(flagLive|flagRetiring|flagBusy|flagWatched|leaseMask) == flagLive {
			return s
		}
	}
	return nil
}

// reassignLocked retires s, which has a free seat, if the oldest who could use it
// waits in another pool: were it left to those who share it, its place might never
// come free. REQUIRES: the lock.
func (h *hub[T]) reassignLocked(s *slot[T]) bool {
	idle := s.word.Load()&leaseMask == 0
	coming := h.closing
	if !idle { // the others in retirement may be done first
		coming += h.pledged
	}
	if int(h.starved.Load()) <= coming {
		return false
	}
	oldest := ^uint64(0)
	for _, p := range h.hungry {
		if p != s.pool {
			oldest = min(oldest, p.oldestLocked())
		}
	}
	over := h.places-h.closing > h.maxPlaces
	if next := s.pool.nextForLocked(s, idle); next != nil && next.seq < oldest && !over {
		return false
	}
	if oldest == ^uint64(0) && !over {
		return false
	}
	if idle || len(s.own) > 0 {
		return s.pool.retireIdleLocked(s, ReasonReassigned)
	}
	s.pledged = true
	h.pledged++
	s.pool.retireLocked(s, ReasonReassigned, nil)
	return true
}

// glanceLocked notes that p was used if its leases moved since the last glance.
// REQUIRES: the lock.
func (p *Pool[T]) glanceLocked(at int64) {
	moves, leased := p.movesLocked()
	if moves > p.moves || leased > 0 || p.queue.len+p.side.len > 0 {
		p.heat, p.moves, p.usedAt = moves-min(p.moves, moves), max(moves, p.moves), at
	}
}

// movesLocked returns how many leases p ever gave, and how many are out.
// REQUIRES: the lock.
func (p *Pool[T]) movesLocked() (moves uint64, leased int) {
	t := p.table.Load()
	moves = t.acquired
	for _, s := range t.slots {
		w := s.word.Load()
		moves += w >> countShift
		leased += leasesOf(w)
	}
	return moves, leased
}

// colderLocked tells whether p was last used before other was. Where both were
// used since the last glance, the one used less, or else the older one, is the
// colder. REQUIRES: the lock.
func (p *Pool[T]) colderLocked(other *Pool[T]) bool {
	return cmp.Or(cmp.Compare(p.usedAt, other.usedAt), cmp.Compare(p.heat, other.heat), cmp.Compare(p.seq, other.seq)) < 0
}
