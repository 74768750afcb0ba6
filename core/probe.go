package core

import "context"

// verifyLocked starts the probe of as many stale slots as there are waiters that
// could use them. REQUIRES: the lock.
func (p *Pool[T]) verifyLocked() {
	if p.cfg.ProbeAfterIdle == never {
		return
	}
	n := p.queue.len
	for _, s := range p.slots() {
		if w := s.word.Load(); w&(flagLive|flagRetiring|flagBusy|flagWatched) == flagLive|flagBusy {
			n -= p.share // it is on its way, and kept for nobody else
		}
	}
	for _, s := range p.slots() {
		if n <= 0 {
			return
		}
		if w := s.word.Load(); w&flagStale != 0 && w&leaseMask == 0 && p.examineLocked(s, true) {
			n -= p.share
		}
	}
}

// patrolLocked begins the periodic probes that are due, the longest due first, as
// many as may run at once, and none while somebody waits. The end of each begins
// the next. REQUIRES: the lock.
func (p *Pool[T]) patrolLocked(now int64) {
	if p.cfg.ProbeInterval == never {
		return
	}
	for p.probing < p.cfg.MaxProbing && p.queue.len+p.side.len == 0 {
		var due *slot[T]
		for _, s := range p.slots() {
			w := s.word.Load()
			if w&(flagLive|flagRetiring|flagBusy|leaseMask) != flagLive || !s.res.Load().probes {
				continue
			}
			if now-s.keep.probed >= int64(p.cfg.ProbeInterval) && (due == nil || s.keep.probed < due.keep.probed) {
				due = s
			}
		}
		if due == nil || !p.examineLocked(due, false) {
			return
		}
	}
}

// examineLocked takes an idle slot out of service and has its resource probed; it
// reports false if somebody leased it meanwhile. Probes before a lease do not
// count towards MaxProbing, somebody waits for them. REQUIRES: the lock.
func (p *Pool[T]) examineLocked(s *slot[T], wanted bool) bool {
	w := s.word.Load()
	if w&(flagRetiring|flagBusy) != 0 || !s.seize(w&flagMask) {
		return false
	}
	s.keep.probed = p.hub.now()
	if !wanted {
		p.probing++
	}
	p.hub.jobs.Go(func() {
		err := p.probe(s.res.Load())
		p.hub.lock()
		p.returnLocked(s, ReasonProbe, p.concludeLocked(s, err, wanted))
		if !wanted {
			p.probing--
			p.patrolLocked(p.hub.now())
		}
		p.hub.unlock()
	})
	return true
}

// probe calls the resource's probe once.
func (p *Pool[T]) probe(r *resource[T]) error {
	p.tally.probes.Add(1)
	ctx, end := p.observeProbe(r)
	err := p.runUnder(ctx, "Probe", p.cfg.ProbeTimeout, &p.strayOthers, func(ctx context.Context) error {
		if p.cfg.Probe != nil {
			return p.cfg.Probe(ctx, r.value)
		}
		return any(r.value).(prober).Probe(ctx) //nolint:errcheck // r.probes says so
	})
	end(err)
	if p.ctx.Err() != nil {
		return errUnasked // told to end because the pool closes: that says nothing of the resource
	}
	return err
}

// resetLocked readies s, which its last release left busy, for the next lease.
// REQUIRES: the lock.
func (p *Pool[T]) resetLocked(s *slot[T]) {
	p.hub.jobs.Go(func() {
		r := s.res.Load()
		p.tally.resets.Add(1)
		err := p.run("Reset", p.cfg.ResetTimeout, func(ctx context.Context) error {
			if p.cfg.Reset != nil {
				return p.cfg.Reset(ctx, r.value)
			}
			return any(r.value).(resetter).Reset(ctx) //nolint:errcheck // r.resets says so
		})
		p.hub.lock()
		p.returnLocked(s, ReasonReset, err)
		p.hub.unlock()
	})
}

// returnLocked puts s back into service after the pool itself had it, or retires
// it if there was something wrong. REQUIRES: the lock.
func (p *Pool[T]) returnLocked(s *slot[T], reason CloseReason, err error) {
	if err != nil && s.word.Load()&flagRetiring == 0 {
		p.retireLocked(s, reason, err) // only marks it: it is busy still
	}
	s.mark(0, flagBusy)
	p.settleLocked(s)
	if p.queue.len > 0 {
		p.verifyLocked() // whom this one was probed for may have to be served by another
	}
	p.hub.demandLocked(p)
}

// destruct is puddle's destructor.
func (p *Pool[T]) destruct(r *resource[T]) {
	h := p.hub
	defer h.jobs.Done()
	ctx, end := p.observeClose(r)
	end(p.close(ctx, r.value))
	h.lock()
	p.closing--
	h.closing--
	h.places--
	p.tally.begin()
	p.tally.closing.Add(-1)
	p.tally.end()
	p.renewLocked(h.now())
	h.demandLocked(p)
	h.unlock()
}

// dispose closes a resource that never came into the pool.
func (p *Pool[T]) dispose(res T) { _ = p.close(context.Background(), res) }

// close calls the resource's close once.
func (p *Pool[T]) close(ctx context.Context, res T) error {
	err := p.runUnder(ctx, "Close", p.cfg.CloseTimeout, &p.strayCloses, func(ctx context.Context) error {
		return p.cfg.Close(ctx, res)
	})
	if err != nil {
		p.tally.closeFailures.Add(1)
		p.hub.late.closeFailures.Add(1)
	}
	return err
}

// doomLocked has a resource closed that is in no slot (any more).
// REQUIRES: the lock and an open tally.
func (p *Pool[T]) doomLocked(r *resource[T], reason CloseReason, cause error) {
	r.reason, r.cause = reason, cause
	p.closing++
	p.hub.closing++
	p.tally.closing.Add(1)
	p.tally.closed[reason].Add(1)
	p.hub.jobs.Add(1)
	r.pres.Destroy()
}
