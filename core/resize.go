package core

import (
	"context"
	"errors"
)

// Resize changes Min and Max, with the meaning they have in Config except that 0
// is 0 for min and an error for max. It does not wait: growing serves waiters as
// resources come, shrinking closes idle resources now and leased ones as their
// leases end. It fails, and changes nothing, if ctx has ended, the pool is closed
// or a limit makes no sense.
func (p *Pool[T]) Resize(ctx context.Context, minimum, maximum int) error {
	if ctx == nil {
		return ErrNilContext
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	f := faults{}
	f.count("Min", &minimum, 0, 0)
	f.count("Max", &maximum, 0, unlimited)
	if maximum == 0 {
		f.add("Max", 0, "is not a limit to resize to: give at least 1, or -1 for no limit")
	} else if minimum > maximum {
		f.add("Min", minimum, "is more than Max")
	}
	if err := errors.Join(f.list...); err != nil {
		return err
	}
	h := p.hub
	h.lock()
	defer h.unlock()
	if p.closed {
		return ErrClosed
	}
	e := Resized{Pool: p.cfg.Name, OldMin: p.min, OldMax: shownLimit(p.max), Min: minimum, Max: shownLimit(maximum)}
	p.min, p.max = minimum, maximum
	p.tally.begin()
	p.tally.min.Store(int64(minimum))
	p.tally.max.Store(int64(maximum))
	p.tally.end()
	p.shrinkLocked()
	p.readyLocked()
	h.demandLocked(p)
	if hook := p.cfg.Hooks.Resized; hook != nil {
		p.emitLocked("Resized", func() { hook(e) })
	}
	return nil
}

// shrinkLocked retires what is beyond Max: idle resources first, then those with
// the fewest leases, the last first. After a growth it takes back what an earlier
// shrink had marked but could not close yet. REQUIRES: the lock.
func (p *Pool[T]) shrinkLocked() {
	slots := p.slots()
	for _, s := range slots {
		if w := s.word.Load(); p.usableLocked() < p.max && w&flagRetiring != 0 && s.reason == ReasonShrunk {
			s.reason = ReasonNone
			p.retiring--
			p.reviveLocked(s)
		}
	}
	// What is being opened is one too many only when it comes: what is there is worth
	// more.
	for load := 0; load <= p.share && p.usableLocked() > p.max; load++ {
		for i := len(slots) - 1; i >= 0 && p.usableLocked() > p.max; i-- {
			if leasesOf(slots[i].word.Load()) <= load {
				p.retireLocked(slots[i], ReasonShrunk, nil)
			}
		}
	}
	p.trimTableLocked()
}

// Evict retires every resource made before now, those whose open is under way
// included: idle ones are closed at once, leased ones when their leases end. Use
// it when something that all of them share has changed: an address, a credential.
func (p *Pool[T]) Evict() { p.EvictFor(nil) }

// EvictFor is Evict with what has changed, which CloseEnd has as the cause.
func (p *Pool[T]) EvictFor(cause error) {
	h := p.hub
	h.lock()
	defer h.unlock()
	p.evictions++
	for _, s := range p.slots() {
		p.retireLocked(s, ReasonEvicted, cause)
	}
	h.demandLocked(p)
}

// Ready tells whether the pool has ever reached Min. It stays true until the pool
// closes; Stats tells what is alive right now.
func (p *Pool[T]) Ready() bool { return p.ready.Load() && p.ctx.Err() == nil }

// Degraded tells whether warming up has failed and leases get one-off resources.
func (p *Pool[T]) Degraded() bool { return p.degraded.Load() }

// WaitReady waits until the pool has reached Min. It fails with ErrClosed, or with
// the error of ctx and the last failure to open.
func (p *Pool[T]) WaitReady(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	select {
	case <-p.closedCh:
		return ErrClosed
	default:
	}
	if p.ready.Load() { // whatever ctx says
		return nil
	}
	select {
	case <-p.readyCh:
		return nil
	case <-p.closedCh:
		return ErrClosed
	case <-ctx.Done():
		if last := p.lastErr.Load(); last != nil {
			return errors.Join(contextError(ctx), *last)
		}
		return contextError(ctx)
	}
}

// readyLocked notes that Min is reached. REQUIRES: the lock.
func (p *Pool[T]) readyLocked() {
	if p.ready.Load() || p.usableLocked() < p.min {
		return
	}
	p.ready.Store(true)
	close(p.readyCh)
	if !p.degraded.Load() {
		return
	}
	p.degraded.Store(false)
	if hook := p.cfg.Hooks.Recovered; hook != nil {
		p.emitLocked("Recovered", func() { hook(Recovered{Pool: p.cfg.Name}) })
	}
}
