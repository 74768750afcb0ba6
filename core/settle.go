package core

import "slices"

// offer gives what is free on s to those who wait.
func (p *Pool[T]) offer(s *slot[T]) {
	p.hub.lock()
	p.settleLocked(s)
	p.hub.unlock()
}

// pass hands the seat of l, on an exclusive slot, to the head of the queue without
// setting it free in between. It reports false, and has done nothing, unless that
// is all there is to do.
func (p *Pool[T]) pass(l Lease[T]) bool {
	p.hub.lock()
	head := p.frontLocked()
	w := l.plainWord()
	ok := head != nil && p.hub.starved.Load() == 0 && l.slot.word.CompareAndSwap(w, w+1<<countShift)
	if ok {
		p.giveLocked(head, Lease[T]{slot: l.slot, token: l.token + 1<<seatBits}, nil)
	}
	p.hub.unlock()
	return ok
}

// settleLocked brings s in order after any change to it: closes it if it is
// retiring and empty, gives its free seats to those who wait, oldest first.
// REQUIRES: the lock.
func (p *Pool[T]) settleLocked(s *slot[T]) {
	for {
		p.reserveLocked(s)
		w := s.word.Load()
		switch {
		case w&flagLive == 0 || w&flagBusy != 0:
			return // whoever has it settles it
		case w&flagRetiring != 0:
			if w&leaseMask == 0 {
				p.buryLocked(s)
			}
			return
		case w&flagAlone != 0 || leasesOf(w) >= p.share || p.closed:
			return
		}
		if p.hub.starved.Load() != 0 && p.hub.reassignLocked(s) {
			return
		}
		next := p.nextForLocked(s, w&leaseMask == 0)
		if next == nil {
			return
		}
		if w&flagStale != 0 && w&leaseMask == 0 {
			p.examineLocked(s, true)
			return
		}
		if !p.seatLocked(s, w, next) {
			return
		}
	}
}

// seatLocked gives next a seat on s, whose word is w. It reports false if the
// seat has to wait until s is empty. REQUIRES: the lock.
func (p *Pool[T]) seatLocked(s *slot[T], w uint64, next *waiter[T]) bool {
	limit, set := p.share, uint64(0)
	if next.want == wantAlone {
		if w&leaseMask != 0 {
			return false
		}
		limit, set = 1, flagAlone
	}
	if lease, ok := s.claim(w&flagMask, limit, set, 0); ok {
		p.giveLocked(next, lease, nil)
	}
	return true // if somebody was faster, the word tells what is left
}

// nextForLocked returns the oldest of those whom a seat on s can serve: the head
// of the queue, the first who waits for s itself, and, if s is empty, the first
// who wants a slot alone. REQUIRES: the lock.
func (p *Pool[T]) nextForLocked(s *slot[T], empty bool) *waiter[T] {
	next := p.frontLocked()
	for len(s.own) > 0 && s.own[0].ended() {
		p.dropLocked(s.own[0])
		p.reserveLocked(s) // it may have been kept from another
	}
	if len(s.own) > 0 && (next == nil || s.own[0].seq < next.seq) {
		next = s.own[0]
	}
	if empty {
		if c := p.firstClaimLocked(); c != nil && (next == nil || c.seq < next.seq) {
			next = c
		}
	}
	return next
}

// reserveLocked keeps s for the oldest of those who want a slot alone and have
// none reserved yet. REQUIRES: the lock.
func (p *Pool[T]) reserveLocked(s *slot[T]) {
	if p.claims.Load() == 0 || s.word.Load()&(flagLive|flagRetiring|flagBusy|flagWatched) != flagLive {
		return
	}
	for w := p.side.head; w != nil; w = w.next {
		if w.claims() && w.slot == nil && !w.ended() {
			p.watchLocked(s, w)
			return
		}
	}
}

// firstClaimLocked returns the oldest of those who want any slot alone.
// REQUIRES: the lock.
func (p *Pool[T]) firstClaimLocked() *waiter[T] {
	if p.claims.Load() == 0 {
		return nil
	}
	for w := p.side.head; w != nil; w = w.next {
		if w.claims() && !w.ended() {
			return w
		}
	}
	return nil
}

// claims tells whether w wants a slot alone and does not mind which.
func (w *waiter[T]) claims() bool { return w.want == wantAlone && w.pinned == 0 }

// serveClaimLocked gives w an empty slot, or else reserves the least loaded one:
// it takes no new lease, so that those who share cannot starve who wants it alone.
// REQUIRES: the lock.
func (p *Pool[T]) serveClaimLocked(w *waiter[T]) {
	for {
		s, ready := p.leastLoadedLocked()
		if s == nil {
			return
		}
		p.watchLocked(s, w)
		if !ready || s.word.Load()&leaseMask == 0 {
			p.settleLocked(s)
			return
		}
		// Somebody was faster: there may be another empty one.
		p.unwatchLocked(s, w)
		w.slot = nil
	}
}

// leastLoadedLocked returns the slot that is best reserved, and whether it can be
// taken at once: empty, and not to be probed first. REQUIRES: the lock.
func (p *Pool[T]) leastLoadedLocked() (best *slot[T], ready bool) {
	least := 0
	for _, s := range p.slots() {
		w := s.word.Load()
		if w&(flagLive|flagRetiring|flagBusy|flagWatched) != flagLive {
			continue
		}
		load := 4 * leasesOf(w)
		if w&flagStale != 0 {
			load += 2
		}
		if w&flagWeak != 0 {
			load++
		}
		if best == nil || load < least {
			best, least = s, load
		}
	}
	return best, least <= 1
}

// watchLocked has w wait for s. REQUIRES: the lock.
func (p *Pool[T]) watchLocked(s *slot[T], w *waiter[T]) {
	w.slot = s
	i, _ := slices.BinarySearchFunc(s.own, w.seq, func(o *waiter[T], seq uint64) int {
		return int(int64(o.seq) - int64(seq))
	})
	s.own = slices.Insert(s.own, i, w)
	s.mark(flagWatched, 0)
}

// unwatchLocked takes w off the list of s. REQUIRES: the lock.
func (p *Pool[T]) unwatchLocked(s *slot[T], w *waiter[T]) {
	if i := slices.Index(s.own, w); i >= 0 {
		s.own = slices.Delete(s.own, i, i+1)
	}
	if len(s.own) == 0 {
		s.mark(0, flagWatched)
	}
}

// retireLocked has s take no new lease and closes it once it is empty. Those who
// waited for s itself learn at once that it is gone. The first reason stands,
// unless that is a shrink, which growing again may take back.
// REQUIRES: the lock.
func (p *Pool[T]) retireLocked(s *slot[T], reason CloseReason, cause error) {
	if w := s.word.Load(); w&flagLive == 0 || w&flagRetiring != 0 {
		if w&flagLive != 0 && s.reason == ReasonShrunk {
			s.reason, s.cause = reason, cause
		}
		return
	}
	s.reason, s.cause = reason, cause
	s.mark(flagRetiring, 0)
	p.retiring++
	p.forsakeLocked(s)
	if w := s.word.Load(); w&(flagLive|flagBusy|leaseMask) == flagLive {
		p.buryLocked(s)
	}
}

// reviveLocked has s take leases again. If its last lease came back while it was
// retiring, whoever released that did not ask for a reset: it is made up for.
// REQUIRES: the lock.
func (p *Pool[T]) reviveLocked(s *slot[T]) {
	resets := p.resets && s.res.Load().resets
	for {
		w := s.word.Load()
		next := w &^ flagRetiring
		reset := resets && w&(flagBusy|leaseMask) == 0
		if reset {
			next |= flagBusy
		}
		if !s.word.CompareAndSwap(w, next) {
			continue
		}
		s.row.freed(next)
		if reset {
			p.resetLocked(s)
		}
		p.settleLocked(s)
		return
	}
}

// forsakeLocked ends all waiting for s itself: pins are lost, or take anything if
// they said so; who wanted s alone looks for another. REQUIRES: the lock.
func (p *Pool[T]) forsakeLocked(s *slot[T]) {
	for len(s.own) > 0 {
		w := s.own[0]
		p.unwatchLocked(s, w)
		w.slot = nil
		switch {
		case w.claims():
			p.serveClaimLocked(w)
		case !w.rebind:
			p.giveLocked(w, Lease[T]{}, &PinLostError{Pool: p.cfg.Name, Key: w.key, ID: w.pinned})
		case w.want == wantAlone:
			w.pinned = 0 // from now on it claims any slot
			p.claims.Add(1)
			p.serveClaimLocked(w)
		default:
			p.dropLocked(w)
			w.want = wantAny
			p.queueLocked(w)
			p.serveLocked()
			for _, other := range p.slots() { // it may be older than whom one is kept for
				if !w.served && other != s {
					p.settleLocked(other)
				}
			}
		}
	}
}

// buryLocked empties s, which is retiring and has no lease, and has its resource
// closed. REQUIRES: the lock.
func (p *Pool[T]) buryLocked(s *slot[T]) {
	r, reason, cause := s.res.Load(), s.reason, s.cause
	p.tally.begin()
	p.vacateLocked(s)
	p.doomLocked(r, reason, cause)
	p.tally.end()
	p.hub.drainedLocked()
	p.hub.demandLocked(p)
}

// vacateLocked takes the resource out of s, which is retiring.
// REQUIRES: the lock, an open tally, and that no lease is out.
func (p *Pool[T]) vacateLocked(s *slot[T]) {
	if before, _ := s.mark(0, flagMask); before&flagWeak != 0 {
		p.weak.Add(-1)
	}
	if s.pledged {
		s.pledged = false
		p.hub.pledged--
	}
	s.reason, s.cause, s.keep = ReasonNone, nil, upkeep{}
	p.retiring--
	p.live--
	p.tally.live.Add(-1)
}
