package core

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// circuit counts failures in a row and, past a threshold, lets only single
// trials through. All of it is guarded by the lock.
type circuit struct {
	threshold int
	min, max  time.Duration

	open     bool
	trial    bool // one is under way
	failures int
	epoch    uint64 // failures ever counted: an attempt that began in an older one overlapped a failure
	delay    time.Duration
	next     int64 // when the next trial may begin, on the pool's clock
	cause    error
	opened   atomic.Uint64 // times it opened
	visible  atomic.Uint32 // state, for readers without the lock
}

// allows tells whether an open may begin.
func (c *circuit) allows(now int64) bool {
	return !c.open || !c.trial && now >= c.next
}

// begin notes an open that begins, and tells whether it is a trial.
func (c *circuit) begin() (trial bool) {
	defer c.show()
	c.trial = c.open
	return c.open
}

// succeed notes an attempt that went well, and tells whether that closed the
// circuit.
func (c *circuit) succeed() (closed bool) {
	defer c.show()
	closed = c.open
	c.open, c.trial, c.failures, c.delay, c.cause = false, false, 0, 0, nil
	return closed
}

// fail notes a failed attempt that began in the given epoch, and tells whether
// that opened the circuit.
func (c *circuit) fail(now int64, epoch uint64, trial bool, err error) (opened bool) {
	if c.threshold >= unlimited || epoch != c.epoch && !trial {
		return false
	}
	defer c.show()
	c.epoch++
	c.failures++
	switch {
	case c.open && !trial: // began before it opened, and says nothing new
		return false
	case c.open:
		c.trial = false
		c.delay = min(2*c.delay, c.max)
	case c.failures < c.threshold:
		return false
	default:
		c.open, opened = true, true
		c.opened.Add(1)
		c.delay = c.min
	}
	c.cause = err
	c.next = now + int64(jitter(c.delay, c.min, c.max))
	return opened
}

// abort ends a trial that proved nothing, so that another may begin.
func (c *circuit) abort() {
	c.trial = false
	c.show()
}

// show publishes the state for those who read it without the lock.
func (c *circuit) show() {
	state := BreakerClosed
	if c.open {
		state = BreakerOpen
		if c.trial {
			state = BreakerHalfOpen
		}
	}
	c.visible.Store(uint32(state))
}

// shown returns the state last published.
func (c *circuit) shown() CircuitState { return CircuitState(c.visible.Load()) }

// CircuitState is the state of a circuit breaker.
type CircuitState uint8

// The states of a circuit breaker, the worse the higher: closed lets every open
// through, half-open is trying one, open lets none through.
const (
	BreakerClosed CircuitState = iota
	BreakerHalfOpen
	BreakerOpen
)

// String returns "closed", "open" or "half-open".
func (s CircuitState) String() string {
	switch s {
	case BreakerClosed:
		return "closed"
	case BreakerOpen:
		return "open"
	case BreakerHalfOpen:
		return "half-open"
	}
	return "unknown"
}

// jitter draws a duration, in nanoseconds, from a window a quarter of d wide that
// ends at d, or begins at low where it would reach below. It is never past high.
func jitter(d, low, high time.Duration) time.Duration {
	from := max(d-d/4, low)
	to := min(max(d, from+d/4), high)
	if to <= from {
		return from
	}
	return from + time.Duration(rand.Int64N(int64(to-from)+1))
}
