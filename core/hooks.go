package core

import (
	"context"
	"time"
)

// Hooks observe a pool. Every field may be nil, and a nil hook costs nothing,
// not even a clock read. JoinHooks makes one of several.
//
// AcquireStart, AcquireEnd and Released run on the goroutine of the caller and
// delay it. The other Start and End hooks run on a pool goroutine next to the
// callback they frame; a Start hook returns the context that the callback and
// the End hook get, which is how a tracer carries its span. The rest report
// changes of state, one at a time and in the order of the changes, on a pool
// goroutine. No hook runs under a lock, so any of them may call the pool. A
// panic is recovered and reported to Panicked; a hook on a pool goroutine that
// does not return within CloseTimeout is abandoned.
type Hooks struct {
	AcquireStart func(ctx context.Context, e AcquireStart) context.Context
	AcquireEnd   func(ctx context.Context, e AcquireEnd)
	Released     func(e Released)

	OpenStart  func(ctx context.Context, e OpenStart) context.Context
	OpenEnd    func(ctx context.Context, e OpenEnd)
	CloseStart func(ctx context.Context, e CloseStart) context.Context
	CloseEnd   func(ctx context.Context, e CloseEnd)
	ProbeStart func(ctx context.Context, e ProbeStart) context.Context
	ProbeEnd   func(ctx context.Context, e ProbeEnd)

	CircuitOpened func(e CircuitOpened)
	CircuitClosed func(e CircuitClosed)
	Resized       func(e Resized)
	Degraded      func(e Degraded)
	Recovered     func(e Recovered)
	Leaked        func(e Leaked)
	Panicked      func(e Panicked)
}

// AcquireStart is the beginning of an Acquire.
type AcquireStart struct {
	Pool string
}

// AcquireEnd is the end of an Acquire.
type AcquireEnd struct {
	Pool string
	ID   uint64        // of the resource; 0 if there is none
	Wait time.Duration // time spent waiting; 0 if the lease came at once
	Err  error
}

// Released is the end of a lease, however it ended.
type Released struct {
	Pool string
	ID   uint64
	Held time.Duration
}

// OpenStart is the beginning of one attempt to open a resource.
type OpenStart struct {
	Pool    string
	Attempt int  // 1 for the first
	Trial   bool // made while the circuit is open
}

// OpenEnd is the end of one attempt to open a resource.
type OpenEnd struct {
	Pool     string
	ID       uint64 // of the new resource; 0 if there is none
	Attempt  int
	Duration time.Duration
	Err      error
}

// CloseStart is the beginning of the closing of a resource.
type CloseStart struct {
	Pool   string
	ID     uint64
	Reason CloseReason
	Cause  error // what was wrong with it, where something was
}

// CloseEnd is the end of the closing of a resource.
type CloseEnd struct {
	Pool     string
	ID       uint64
	Reason   CloseReason
	Cause    error
	Age      time.Duration
	Duration time.Duration
	Err      error // of the closing itself
}

// ProbeStart is the beginning of a probe.
type ProbeStart struct {
	Pool string
	ID   uint64
}

// ProbeEnd is the end of a probe.
type ProbeEnd struct {
	Pool     string
	ID       uint64
	Duration time.Duration
	Err      error // nil if the resource is good
}

// CircuitOpened says that opens kept failing.
type CircuitOpened struct {
	Pool  string
	Cause error
	Next  time.Time // of the first trial
}

// CircuitClosed says that an open succeeded again.
type CircuitClosed struct {
	Pool string
}

// Resized says that the limits changed. A Max of -1 stands for no limit.
type Resized struct {
	Pool           string
	OldMin, OldMax int
	Min, Max       int
}

// Degraded says that warming up failed and one-off resources are handed out.
type Degraded struct {
	Pool  string
	Cause error
}

// Recovered says that Min was reached after all.
type Recovered struct {
	Pool string
}

// Leaked reports a lease that is held longer than LeakAfter.
type Leaked struct {
	Pool  string
	ID    uint64        // of the resource
	Held  time.Duration // at least this long, exact to one sweep of the keeper
	Stack string        // of the Acquire, where Config.Stacks is on
}

// Panicked reports a recovered panic of a callback or another hook.
type Panicked struct {
	Pool string
	Err  *PanicError
}

// CloseReason says why a resource was closed.
type CloseReason uint8

// The reasons, in no particular order.
const (
	ReasonNone       CloseReason = iota
	ReasonDiscarded              // Lease.Discard
	ReasonBroken                 // Do: an error that Broken calls broken, a panic, a Goexit
	ReasonExpired                // MaxLifetime
	ReasonIdle                   // MaxIdleTime
	ReasonProbe                  // failed its Probe
	ReasonReset                  // failed its Reset
	ReasonShrunk                 // Resize
	ReasonEvicted                // Evict
	ReasonOneOff                 // made for one lease in degraded mode
	ReasonReassigned             // Keyed: its place went to another key
	ReasonKeyClosed              // Keyed: the key was idle or its place was needed
	ReasonClosed                 // Close, after the leases came back
	ReasonRevoked                // Close, under its holder
	reasonCount
)

var reasonNames = [reasonCount]string{
	"none", "discarded", "broken", "expired", "idle", "probe_failed", "reset_failed", "shrunk",
	"evicted", "one_off", "reassigned", "key_closed", "closed", "revoked",
}

// String returns the reason in snake case, fit for a metric label.
func (r CloseReason) String() string {
	if r >= reasonCount {
		return "unknown"
	}
	return reasonNames[r]
}

// CloseReasons returns every reason a resource is closed for.
func CloseReasons() []CloseReason {
	rs := make([]CloseReason, 0, reasonCount-1)
	for r := ReasonNone + 1; r < reasonCount; r++ {
		rs = append(rs, r)
	}
	return rs
}
