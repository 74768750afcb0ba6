package core

import (
	"context"
	"time"
)

// want is what a waiter can be served with.
type want uint8

const (
	wantAny   want = iota // any seat
	wantPin               // a seat on one slot
	wantAlone             // a whole slot of a shared pool
)

// waiter is a caller that waits. It belongs to its Pool, never to the package,
// so that its channel stays inside a testing/synctest bubble.
type waiter[T Resource] struct {
	ready chan struct{} // gets one value when the waiter has been served
	shard uint8         // where its waiting is counted

	// Set before the waiter is put in a line, then immutable.
	want     want
	rebind   bool // a pin that takes another resource if its own is gone
	key      string
	pinned   uint64 // the resource of a pin
	done     <-chan struct{}
	deadline time.Time // of the caller's context; zero if none
	since    int64     // on the pool's clock
	seq      uint64    // age: the lower is the older

	// Guarded by the lock until ready is signalled.
	prev, next *waiter[T]
	line       *line[T]
	slot       *slot[T] // which a pin waits for, or an exclusive claim has reserved
	served     bool
	lease      Lease[T]
	err        error
}

// line is a list of waiters, oldest first.
type line[T Resource] struct {
	head, tail *waiter[T]
	len        int
}

// add puts w where its age belongs: nearly always at the end.
func (l *line[T]) add(w *waiter[T]) {
	after := l.tail
	for after != nil && after.seq > w.seq {
		after = after.prev
	}
	w.line, w.prev = l, after
	if after == nil {
		w.next, l.head = l.head, w
	} else {
		w.next, after.next = after.next, w
	}
	if w.next == nil {
		l.tail = w
	} else {
		w.next.prev = w
	}
	l.len++
}

func (l *line[T]) remove(w *waiter[T]) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.line = nil, nil, nil
	l.len--
}

// wait stands in line until there is a lease for the caller, an error, or ctx
// ends. The fast path has failed before.
func (p *Pool[T]) wait(ctx context.Context, o AcquireOptions) (Lease[T], time.Duration, error) {
	w, _ := p.idleWaiters.Get().(*waiter[T])
	if w == nil {
		w = &waiter[T]{ready: make(chan struct{}, 1), shard: uint8(p.waiters.Add(1) % waitShards)}
	}
	w.key, w.done = o.Key, ctx.Done()
	w.deadline, _ = ctx.Deadline()
	w.since = p.hub.now()
	if o.Exclusive && p.share > 1 {
		w.want = wantAlone
	}

	h := p.hub
	h.lock()
	if err := p.enterLocked(w, o); err != nil {
		h.unlock()
		p.recycle(w)
		return Lease[T]{}, 0, err
	}
	atOnce := w.served
	h.unlock()

	if w.done == nil {
		<-w.ready
	} else {
		select {
		case <-w.ready:
		case <-w.done:
			p.leave(w)
		}
	}
	lease, err, since, shard := w.lease, w.err, w.since, w.shard
	p.recycle(w)
	if atOnce {
		return lease, 0, err
	}
	waited := time.Duration(h.now() - since)
	p.tally.waitTime[shard].nanos.Add(int64(waited))
	if lease.slot != nil && ctx.Err() == nil {
		return lease, waited, nil
	}
	if lease.slot != nil {
		p.release(lease, false) // to the next in line: the context ended as it came
	}
	if err == nil {
		err = p.exhausted(waited, contextError(ctx))
	}
	return Lease[T]{}, waited, err
}

// enterLocked serves w, puts it in line, or says why it cannot wait.
// REQUIRES: the lock.
func (p *Pool[T]) enterLocked(w *waiter[T], o AcquireOptions) error {
	h := p.hub
	if p.closed {
		return ErrClosed
	}
	h.seq++
	w.seq = h.seq
	if o.Key != "" && o.Affinity != Prefer {
		s, id, alive := p.keys.find(o.Key)
		switch {
		case s == nil || !alive && o.Affinity == PinOrRebind:
			// Nothing to wait for: any resource will do, and is bound.
		case !alive:
			return &PinLostError{Pool: p.cfg.Name, Key: o.Key, ID: id}
		default:
			w.rebind, w.pinned, w.slot = o.Affinity == PinOrRebind, id, s
			if w.want == wantAny {
				w.want = wantPin
			}
		}
	}
	switch {
	case w.want == wantAny:
		p.queueLocked(w)
		if p.queue.head == w || p.cfg.ProbeAfterIdle != never {
			// Whoever stands before has looked, and is offered every seat released
			// since; only a first waiter may have missed one.
			p.serveLocked()
		}
	case w.slot != nil: // a pin, exclusive or not
		p.sideLocked(w)
		p.watchLocked(w.slot, w)
		p.settleLocked(w.slot)
	default:
		p.sideLocked(w)
		p.serveClaimLocked(w)
	}
	if w.served {
		return nil
	}
	if err := p.refusalLocked(w, o.NoWait); err != nil {
		// Whoever would have waited for a new resource leaves the wish for one
		// behind, or a pool whose callers are all in a hurry would stay empty.
		p.grow = p.grow || w.pinned == 0 && p.usableLocked() < p.max
		p.abandonLocked(w)
		h.demandLocked(p)
		return err
	}
	p.waits.Add(1)
	if p.cfg.AcquireTimeout != never {
		h.alarmLocked(w.since + int64(p.cfg.AcquireTimeout))
	}
	h.demandLocked(p)
	return nil
}

// refusalLocked says why w must not wait, if so.
// REQUIRES: the lock.
func (p *Pool[T]) refusalLocked(w *waiter[T], noWait bool) error {
	if c := p.openCircuitLocked(); c != nil && (noWait && p.usableLocked() < p.max || p.hopelessLocked(w, c)) {
		return p.circuitErr(c)
	}
	if noWait {
		p.abandonLocked(w) // it is not one of those waiting
		return p.exhausted(0, nil)
	}
	return nil
}

// hopelessLocked tells whether w will have left before anything can serve it:
// nothing is alive, and the next trial begins after its deadline.
// REQUIRES: the lock.
func (p *Pool[T]) hopelessLocked(w *waiter[T], c *circuit) bool {
	if p.usableLocked() > 0 || p.degraded.Load() || c.trial {
		return false
	}
	next := c.next
	if p.cfg.AcquireTimeout != never && w.since+int64(p.cfg.AcquireTimeout) < next {
		return true
	}
	return !w.deadline.IsZero() && w.deadline.Before(p.hub.time(next))
}

// serveLocked serves the queue from whatever is free.
// REQUIRES: the lock.
func (p *Pool[T]) serveLocked() {
	for w := p.frontLocked(); w != nil; w = p.frontLocked() {
		lease, ok := p.take()
		if !ok {
			p.verifyLocked()
			return
		}
		p.giveLocked(w, lease, nil)
	}
}

// frontLocked returns the head of the queue, past those whose context has ended.
// REQUIRES: the lock.
func (p *Pool[T]) frontLocked() *waiter[T] {
	for w := p.queue.head; w != nil; w = p.queue.head {
		if !w.ended() {
			return w
		}
		// It wakes by itself, and finds that it has been dropped.
		p.dropLocked(w)
	}
	return nil
}

// ended tells whether the caller's context has ended. It asks the channel, not
// the context, whose methods are the caller's code.
func (w *waiter[T]) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// giveLocked ends the wait of w with a lease or an error.
// REQUIRES: the lock.
func (p *Pool[T]) giveLocked(w *waiter[T], lease Lease[T], err error) {
	slot := w.slot
	p.dropLocked(w)
	w.served, w.lease, w.err = true, lease, err
	w.next, p.hub.woken = p.hub.woken, w
	if slot != nil && slot != lease.slot {
		p.settleLocked(slot) // what it had reserved is free again
	}
}

// dropLocked takes w out of its line, and off the slot it waited for.
// REQUIRES: the lock.
func (p *Pool[T]) dropLocked(w *waiter[T]) {
	if w.line == nil {
		return
	}
	if w.line == &p.queue {
		p.queued.Add(-1)
		if p.queue.len == 1 {
			p.waiting.Store(false)
		}
	} else {
		p.tally.sideWaiting.Add(-1)
		if w.claims() {
			p.claims.Add(-1)
		}
	}
	w.line.remove(w)
	if w.slot != nil {
		p.unwatchLocked(w.slot, w)
		w.slot = nil
	}
}

// queueLocked puts w in the line that any seat can serve.
// REQUIRES: the lock.
func (p *Pool[T]) queueLocked(w *waiter[T]) {
	p.queue.add(w)
	p.queued.Add(1)
	if p.queue.len == 1 {
		p.waiting.Store(true)
	}
}

// sideLocked puts w in the line of those who are particular about their slot.
// REQUIRES: the lock.
func (p *Pool[T]) sideLocked(w *waiter[T]) {
	p.side.add(w)
	p.tally.sideWaiting.Add(1)
	if w.claims() {
		p.claims.Add(1)
	}
}

// abandonLocked is dropLocked for a waiter that leaves with nothing.
// REQUIRES: the lock.
func (p *Pool[T]) abandonLocked(w *waiter[T]) {
	slot := w.slot
	p.dropLocked(w)
	if slot != nil {
		p.settleLocked(slot)
	}
}

// leave takes w, whose context has ended, out of line. It may have been served in
// the same moment; wait then passes on what it got.
func (p *Pool[T]) leave(w *waiter[T]) {
	p.hub.lock()
	served := w.served
	if !served {
		p.abandonLocked(w)
		if p.hungry || p.hub.starved.Load() != 0 {
			p.hub.feedLocked() // it may have starved, and does not any more
		}
	}
	p.hub.unlock()
	if served {
		<-w.ready
	}
}

// recycle keeps w for the next one who waits.
func (p *Pool[T]) recycle(w *waiter[T]) {
	*w = waiter[T]{ready: w.ready, shard: w.shard}
	p.idleWaiters.Put(w)
}

// expireLocked ends the wait of everyone who has stood in l for AcquireTimeout,
// with neither a lease nor an error: each finds out the reason for itself.
// REQUIRES: the lock.
func (p *Pool[T]) expireLocked(l *line[T], now int64) {
	for w := l.head; w != nil && w.since+int64(p.cfg.AcquireTimeout) <= now; w = l.head {
		p.giveLocked(w, Lease[T]{}, nil)
	}
}

// refuseLocked ends every wait with err.
// REQUIRES: the lock.
func (p *Pool[T]) refuseLocked(l *line[T], err error) {
	for l.head != nil {
		p.giveLocked(l.head, Lease[T]{}, err)
	}
}
