package core

import "time"

// seatBits is how much of a lease's token names the seat; the rest, at least 44
// bits, is the generation of the seat.
const seatBits = 12

// Lease is the right to use one resource until it is released. It is a small
// value; copies are the same lease. Ending it a second time, or after the pool
// took it back, does nothing but count in Stats.StaleReleases. The zero Lease is
// a lease that has ended.
//
// Methods may be called from several goroutines at once.
type Lease[T Resource] struct {
	slot  *slot[T]
	token uint64
}

// Value returns the resource, or T's zero value once the lease has ended.
func (l Lease[T]) Value() T {
	if r := l.resource(); r != nil {
		return r.value
	}
	var zero T
	return zero
}

// ID returns the number of the resource within its pool, counted from 1, or 0
// once the lease has ended.
func (l Lease[T]) ID() uint64 {
	if r := l.resource(); r != nil {
		return r.id
	}
	return 0
}

// ResourceAge returns how long ago the resource was opened, or 0 once the lease
// has ended.
func (l Lease[T]) ResourceAge() time.Duration {
	if r := l.resource(); r != nil {
		return time.Duration(l.slot.pool.hub.now() - r.openedAt)
	}
	return 0
}

// resource returns what the lease is on, or nil. The slot's resource changes only
// while no lease is out: if the lease is still out after the read, then it was
// out during the read, and what was read is its own.
func (l Lease[T]) resource() *resource[T] {
	if l.slot == nil {
		return nil
	}
	if r := l.slot.res.Load(); l.slot.holds(l.token) {
		return r
	}
	return nil
}

// Release gives the resource back.
func (l Lease[T]) Release() {
	s := l.slot
	if s == nil {
		return
	}
	p := s.pool
	if p.plainRelease {
		if p.waiting.Load() && p.pass(l) {
			return
		}
		r := s.row
		if w := s.word.Load(); w == l.plainWord() && s.word.CompareAndSwap(w, w-1) {
			r.freed(w - 1)
			// Park first, look for waiters after: a waiter counts itself first and
			// looks for free slots after. One of the two sees the other.
			if p.waiting.Load() || p.hub.starved.Load() != 0 {
				p.offer(s)
			}
			return
		}
	}
	p.release(l, true)
}

// plainWord returns what the word of an exclusive slot is while l is out and
// nothing else is going on.
func (l Lease[T]) plainWord() uint64 {
	return l.token<<(countShift-seatBits) | flagLive | 1
}

// Discard gives the resource back to be closed, because it is of no more use.
// Cause says why and may be nil; it reaches Hooks.CloseEnd. Other leases on the
// resource stay valid, and it is closed when the last of them ends.
func (l Lease[T]) Discard(cause error) {
	if l.slot != nil {
		l.slot.pool.discard(l, ReasonDiscarded, cause)
	}
}

// Detach takes the resource out of the pool, which forgets it: the caller has to
// close it. It fails with ErrNotAlone if there are other leases on the resource,
// and with ErrReleased if this one has ended; then nothing has changed.
func (l Lease[T]) Detach() (T, error) {
	if l.slot == nil {
		var zero T
		return zero, ErrReleased
	}
	return l.slot.pool.detach(l)
}
