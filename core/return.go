package core

// release ends a lease in the general case. A lease that no caller ever had is
// not reported.
func (p *Pool[T]) release(l Lease[T], had bool) {
	s := l.slot
	held := p.heldBy(l)
	reset := p.resets && s.res.Load().resets
	w, ok := s.rise(l.token, 0, reset)
	if !ok {
		p.stale()
		return
	}
	if w&flagMask != flagLive || p.waiting.Load() || p.hub.starved.Load() != 0 ||
		w&leaseMask == 0 && p.claims.Load() != 0 { // as in Lease.Release: park first, look after
		p.hub.lock()
		if w&flagBusy != 0 { // set by us: a leased slot is never busy
			p.resetLocked(s)
		}
		p.settleLocked(s)
		p.hub.unlock()
	}
	if had {
		p.observeReleased(held)
	}
}

// discard ends a lease and retires the resource.
func (p *Pool[T]) discard(l Lease[T], reason CloseReason, cause error) {
	held := p.heldBy(l)
	p.hub.lock()
	ok := p.condemnLocked(l, reason, cause)
	p.hub.unlock()
	if !ok {
		p.stale()
		return
	}
	p.observeReleased(held)
}

// condemnLocked ends a lease and retires its slot in one step, so that nobody can
// lease the resource in between. REQUIRES: the lock.
func (p *Pool[T]) condemnLocked(l Lease[T], reason CloseReason, cause error) bool {
	s := l.slot
	if _, ok := s.rise(l.token, flagRetiring, false); !ok {
		return false
	}
	switch s.reason {
	case ReasonNone:
		s.reason, s.cause = reason, cause
		p.retiring++
		p.forsakeLocked(s)
	case ReasonShrunk: // growing again must not take it back
		s.reason, s.cause = reason, cause
	default:
	}
	p.settleLocked(s)
	p.hub.demandLocked(p)
	return true
}

// detach takes the resource of l out of the pool.
func (p *Pool[T]) detach(l Lease[T]) (T, error) {
	var zero T
	s := l.slot
	held := p.heldBy(l)
	h := p.hub
	h.lock()
	if !s.holds(l.token) {
		h.unlock()
		p.stale()
		return zero, ErrReleased
	}
	before, after := s.mark(flagRetiring, 0) // nobody joins while we look
	if leasesOf(after) > 1 {
		if before&flagRetiring == 0 {
			p.reviveLocked(s)
		}
		h.unlock()
		return zero, ErrNotAlone
	}
	if _, ok := s.rise(l.token, 0, false); !ok { // released just now, elsewhere
		if before&flagRetiring == 0 {
			p.reviveLocked(s)
		}
		p.settleLocked(s)
		h.unlock()
		p.stale()
		return zero, ErrReleased
	}
	r := s.res.Load()
	if before&flagRetiring == 0 {
		p.retiring++
		p.forsakeLocked(s)
	}
	p.tally.begin()
	p.vacateLocked(s)
	p.tally.detached.Add(1)
	p.tally.end()
	h.places--
	r.pres.Hijack()
	h.drainedLocked()
	h.demandLocked(p)
	h.unlock()
	p.observeReleased(held)
	return r.value, nil
}

// stale counts the use of a lease that has ended.
func (p *Pool[T]) stale() {
	p.tally.stale.Add(1)
	p.hub.late.stale.Add(1)
}
