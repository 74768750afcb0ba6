package core

import (
	"context"
	"time"
)

// Close ends the pool: no lease is given any more, everyone who waits gets
// ErrClosed, and resources are closed as their leases come back. When ctx ends
// before all have, the rest is taken back: their leases end, and their resources
// are closed under their holders. Close then returns, a moment after CloseTimeout
// at the latest, or three if hooks hang too, with a *CloseError that says how many leases it took back and how many
// callbacks still run although their context has ended.
//
// Close may be called again, and from several goroutines at once; each call waits
// for the end and returns the same, and the first ctx to end ends the patience of
// all. A caller that itself holds a lease should give a ctx that ends.
func (p *Pool[T]) Close(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	return p.hub.close(ctx, p.cfg.Name)
}

// close ends all pools of the hub.
func (h *hub[T]) close(ctx context.Context, name string) error {
	h.lock()
	if !h.closed {
		h.closed = true
		for _, p := range h.pools {
			p.shutLocked(ReasonClosed)
		}
		h.disarmLocked()
		h.drainedLocked()
		go h.finish()
	}
	h.unlock()

	select {
	case <-h.drained:
	default:
		select {
		case <-h.drained:
		case <-ctx.Done():
			cause := contextError(ctx)
			for h.revoke(cause) {
				time.Sleep(revokePause)
			}
		}
	}
	<-h.done

	h.lock()
	defer h.unlock()
	e := &CloseError{Pool: name, Revoked: h.revoked, Abandoned: h.left, Cause: h.cause}
	if e.Revoked == 0 && e.Abandoned == 0 {
		return nil
	}
	return e
}

// finish waits until nothing of the pools is left.
func (h *hub[T]) finish() {
	<-h.drained
	h.jobs.Wait()
	h.ledger.Close()
	h.lock()
	for h.emitting { // not one of the jobs: an abandoned callback may emit when they are done
		quiet := make(chan struct{})
		h.quiet = quiet
		h.unlock()
		<-quiet
		h.lock()
	}
	h.gone, h.left = true, h.strays
	h.unlock()
	close(h.done)
}

// shutLocked ends p for everyone who waits, and retires all it has.
// REQUIRES: the lock.
func (p *Pool[T]) shutLocked(reason CloseReason) {
	p.closed = true
	close(p.closedCh)
	p.cancel()
	p.refuseLocked(&p.queue, ErrClosed)
	p.refuseLocked(&p.side, ErrClosed)
	for _, s := range p.slots() {
		p.retireLocked(s, reason, nil)
	}
}

// drainedLocked notes the moment when a closing hub has no resource left.
// REQUIRES: the lock.
func (h *hub[T]) drainedLocked() {
	if !h.closed {
		return
	}
	select {
	case <-h.drained:
		return
	default:
	}
	for _, p := range h.pools {
		if p.live > 0 {
			return
		}
	}
	close(h.drained)
}

// revokePause is how long Close waits for a lease that is in the middle of being
// taken or given back: won in the slot's word, and not seated yet.
const revokePause = 100 * time.Microsecond

// revoke takes back every lease that is still out because of cause, and tells
// whether there are some that it could not get hold of.
func (h *hub[T]) revoke(cause error) (more bool) {
	var ended []func()
	h.lock()
	for _, p := range h.pools {
		for _, s := range p.slots() {
			s.tokens(func(token uint64) {
				l := Lease[T]{slot: s, token: token}
				held := p.heldBy(l)
				s.reason = ReasonRevoked
				if _, ok := s.rise(token, 0, false); ok {
					h.revoked++
					if h.cause == nil {
						h.cause = cause
					}
					p.tally.revoked.Add(1)
					ended = append(ended, func() { p.observeReleased(held) })
				}
			})
			more = more || leasesOf(s.word.Load()) > 0
			p.settleLocked(s)
		}
	}
	h.unlock()
	for _, f := range ended {
		f()
	}
	return more
}
