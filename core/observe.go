package core

import (
	"context"
	"time"
)

// fire calls a hook on a goroutine of its own and waits for it, CloseTimeout at
// the most.
func (p *Pool[T]) fire(ctx context.Context, name string, hook func(context.Context)) {
	_ = p.runUnder(context.WithoutCancel(ctx), name, p.cfg.CloseTimeout, &p.strayOthers, func(context.Context) error {
		hook(ctx)
		return nil
	})
}

// begin calls a Start hook in the same way and returns the context it made.
func (p *Pool[T]) begin(ctx context.Context, name string, hook func(context.Context) context.Context) context.Context {
	started, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.CloseTimeout)
	defer cancel()
	made, err := call(started, p, &name, p.cfg.CloseTimeout, &p.strayOthers,
		func(context.Context) (context.Context, error) { return hook(ctx), nil }, nil)
	if err != nil || made == nil {
		return ctx
	}
	return carrier{ctx, made}
}

// carrier is a context with the values that a Start hook gave it. The hook cannot
// take away its end, on which the pool relies.
type carrier struct {
	context.Context
	values context.Context
}

func (c carrier) Value(key any) any { return c.values.Value(key) }

// observeOpen frames an attempt with its hooks.
func (p *Pool[T]) observeOpen(ctx context.Context, j *job[T]) (context.Context, func(id uint64, err error)) {
	hooks := &p.cfg.Hooks
	if hook := hooks.OpenStart; hook != nil {
		e := OpenStart{Pool: p.cfg.Name, Attempt: j.attempts, Trial: j.trial}
		ctx = p.begin(ctx, "OpenStart", func(ctx context.Context) context.Context { return hook(ctx, e) })
	}
	hook := hooks.OpenEnd
	if hook == nil {
		return ctx, func(uint64, error) {}
	}
	start := p.hub.now()
	return ctx, func(id uint64, err error) {
		e := OpenEnd{Pool: p.cfg.Name, ID: id, Attempt: j.attempts, Duration: p.since(start), Err: err}
		p.fire(ctx, "OpenEnd", func(ctx context.Context) { hook(ctx, e) })
	}
}

// observeProbe frames a probe with its hooks.
func (p *Pool[T]) observeProbe(r *resource[T]) (context.Context, func(err error)) {
	ctx, hooks := p.ctx, &p.cfg.Hooks
	if hook := hooks.ProbeStart; hook != nil {
		e := ProbeStart{Pool: p.cfg.Name, ID: r.id}
		ctx = p.begin(ctx, "ProbeStart", func(ctx context.Context) context.Context { return hook(ctx, e) })
	}
	hook := hooks.ProbeEnd
	if hook == nil {
		return ctx, func(error) {}
	}
	start := p.hub.now()
	return ctx, func(err error) {
		e := ProbeEnd{Pool: p.cfg.Name, ID: r.id, Duration: p.since(start), Err: err}
		p.fire(ctx, "ProbeEnd", func(ctx context.Context) { hook(ctx, e) })
	}
}

// observeClose frames a close with its hooks.
func (p *Pool[T]) observeClose(r *resource[T]) (context.Context, func(err error)) {
	ctx, hooks := context.Background(), &p.cfg.Hooks
	if hook := hooks.CloseStart; hook != nil {
		e := CloseStart{Pool: p.cfg.Name, ID: r.id, Reason: r.reason, Cause: r.cause}
		ctx = p.begin(ctx, "CloseStart", func(ctx context.Context) context.Context { return hook(ctx, e) })
	}
	hook := hooks.CloseEnd
	if hook == nil {
		return ctx, func(error) {}
	}
	start := p.hub.now()
	return ctx, func(err error) {
		e := CloseEnd{
			Pool: p.cfg.Name, ID: r.id, Reason: r.reason, Cause: r.cause,
			Age: time.Duration(start - r.openedAt), Duration: p.since(start), Err: err,
		}
		p.fire(ctx, "CloseEnd", func(ctx context.Context) { hook(ctx, e) })
	}
}

func (p *Pool[T]) since(start int64) time.Duration { return time.Duration(p.hub.now() - start) }

// guard recovers a panic of a hook that runs on the caller's goroutine.
func (p *Pool[T]) guard(name string) {
	if v := recover(); v != nil {
		p.panicked(newPanic(name, v))
	}
}

// observeAcquire begins an Acquire.
func (p *Pool[T]) observeAcquire(ctx context.Context) (made context.Context) {
	hook := p.cfg.Hooks.AcquireStart
	if hook == nil {
		return ctx
	}
	defer func() {
		if made == nil {
			made = ctx
		}
	}()
	defer p.guard("AcquireStart")
	return hook(ctx, AcquireStart{Pool: p.cfg.Name})
}

// observeAcquired ends an Acquire. If its hook calls runtime.Goexit the lease goes
// back.
func (p *Pool[T]) observeAcquired(ctx context.Context, l Lease[T], waited time.Duration, err error) {
	hook := p.cfg.Hooks.AcquireEnd
	if hook == nil {
		return
	}
	returned := false
	defer func() {
		if !returned {
			l.Release()
		}
	}()
	func() {
		defer p.guard("AcquireEnd")
		hook(ctx, AcquireEnd{Pool: p.cfg.Name, ID: l.ID(), Wait: waited, Err: err})
	}()
	returned = true
}

// holding is what the Released hook wants to know of a lease.
type holding struct {
	id    uint64
	since int64
}

// heldBy reads it, before the lease ends.
func (p *Pool[T]) heldBy(l Lease[T]) holding {
	if p.cfg.Hooks.Released == nil {
		return holding{}
	}
	return holding{id: l.ID(), since: l.slot.seats.at(l.token & (1<<seatBits - 1)).since.Load()}
}

// observeReleased reports the end of a lease.
func (p *Pool[T]) observeReleased(held holding) {
	if hook := p.cfg.Hooks.Released; hook != nil {
		defer p.guard("Released")
		hook(Released{Pool: p.cfg.Name, ID: held.id, Held: p.since(held.since)})
	}
}

// circuitOpenedLocked reports it. REQUIRES: the lock.
func (p *Pool[T]) circuitOpenedLocked(c *circuit) {
	if hook := p.cfg.Hooks.CircuitOpened; hook != nil {
		e := CircuitOpened{Pool: p.cfg.Name, Cause: c.cause, Next: p.hub.time(c.next)}
		p.emitLocked("CircuitOpened", func() { hook(e) })
	}
}

// closeCircuitLocked closes one of the circuits p has to do with, because an open
// went well. REQUIRES: the lock.
func (p *Pool[T]) closeCircuitLocked(c *circuit) {
	if !c.succeed() {
		return
	}
	p.hub.recheck = true
	if hook := p.cfg.Hooks.CircuitClosed; hook != nil {
		p.emitLocked("CircuitClosed", func() { hook(CircuitClosed{Pool: p.cfg.Name}) })
	}
}
