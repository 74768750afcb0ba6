package core

// How many opens should be running is never stored but computed, under the lock,
// at every event that changes what it follows from. Nothing has to be undone
// when a caller gives up, and no event can be counted twice.

// demandLocked starts the opens that p, or any pool it shares limits with, needs
// now. REQUIRES: the lock.
func (h *hub[T]) demandLocked(p *Pool[T]) {
	p.hungerLocked()
	if h.recheck {
		h.recheck = false
		for _, other := range h.pools {
			other.hungerLocked()
		}
	}
	h.feedLocked()
	if p.share == 1 {
		return
	}
	growable := p.opening == 0 && p.roomLocked() > 0 && p.openCircuitLocked() == nil &&
		h.places < h.maxPlaces && h.opening < h.maxOpening && p.strandedLocked() == 0
	if growable != p.growable.Load() {
		p.growable.Store(growable)
	}
}

// hungerLocked puts p on the list of those that need opens, if it does.
// REQUIRES: the lock.
func (p *Pool[T]) hungerLocked() {
	if !p.hungry && p.needLocked() > 0 {
		p.hungry = true
		p.hub.hungry = append(p.hub.hungry, p)
	}
}

// feedLocked starts opens for the hungry pools, the one with the oldest waiter
// first, as far as the limits go. REQUIRES: the lock.
func (h *hub[T]) feedLocked() {
	for len(h.hungry) > 0 {
		best := 0
		for i := 0; i < len(h.hungry); {
			p := h.hungry[i]
			if p.needLocked() <= 0 {
				p.hungry, p.grow = false, false
				last := len(h.hungry) - 1
				h.hungry[i], h.hungry[last] = h.hungry[last], nil
				h.hungry = h.hungry[:last]
				continue
			}
			if p.oldestLocked() < h.hungry[best].oldestLocked() {
				best = i
			}
			i++
		}
		if len(h.hungry) == 0 || h.opening >= h.maxOpening || h.places >= h.maxPlaces || h.opening+h.strays >= h.maxPlaces {
			break
		}
		p := h.hungry[best]
		h.startLocked(p, p.warmNeedLocked() <= 0)
	}
	h.starveLocked()
}

// needLocked returns how many more opens p should have running now.
// REQUIRES: the lock.
func (p *Pool[T]) needLocked() int {
	room := p.roomLocked()
	if p.closed || room <= 0 || p.strandedLocked() >= p.max {
		return 0
	}
	need := max(p.warmNeedLocked(), 0)
	if p.degraded.Load() {
		need += max(p.queue.len+int(p.claims.Load())-p.oneOffs, 0)
	}
	return min(need, room)
}

// warmNeedLocked is needLocked for resources that stay.
// REQUIRES: the lock.
func (p *Pool[T]) warmNeedLocked() int {
	usable := p.usableLocked()
	waiting := 0
	if !p.degraded.Load() {
		waiting = (p.queue.len+p.share-1)/p.share + int(p.claims.Load())
	}
	need := max(waiting, p.min-usable)
	if p.grow || p.replace != nil && !p.replacing {
		need = max(need, 1)
	}
	need -= p.opening - p.oneOffs
	if need <= 0 {
		return need
	}
	if p.retryAt != 0 && (usable > 0 || waiting == 0) {
		if p.hub.now() < p.retryAt {
			p.hub.alarmLocked(p.retryAt)
			return 0
		}
		p.retryAt = 0
	}
	if c := p.openCircuitLocked(); c != nil {
		if c.trial {
			return 0
		}
		if !c.allows(p.hub.now()) {
			p.hub.alarmLocked(c.next)
			return 0
		}
		return 1
	}
	return need
}

// oldestLocked returns the age of the oldest waiter that an open would serve, and
// the highest number if there is none. REQUIRES: the lock.
func (p *Pool[T]) oldestLocked() uint64 {
	oldest := ^uint64(0)
	if p.queue.head != nil {
		oldest = p.queue.head.seq
	}
	if c := p.firstClaimLocked(); c != nil {
		oldest = min(oldest, c.seq)
	}
	return oldest
}

// roomLocked returns how many more resources p itself may have.
// REQUIRES: the lock.
func (p *Pool[T]) roomLocked() int {
	return p.max - p.live - p.opening - p.closing
}

// usableLocked returns how many resources may still be leased.
// REQUIRES: the lock.
func (p *Pool[T]) usableLocked() int { return p.live - p.retiring }

// strandedLocked returns how many abandoned opens and closes have not come back.
// They take no place, but with Max of them out the opener stops.
// REQUIRES: the lock.
func (p *Pool[T]) strandedLocked() int { return p.strayOpens + p.strayCloses }

// openCircuitLocked returns the circuit that is open, of two the one that lets
// the next trial through later, or nil. REQUIRES: the lock.
func (p *Pool[T]) openCircuitLocked() *circuit {
	own, shared := &p.circuit, &p.hub.circuit
	switch {
	case own.open && (!shared.open || own.trial || !shared.trial && own.next > shared.next):
		return own
	case shared.open:
		return shared
	}
	return nil
}
