// Package core is a resource pool for anything that can be closed.
//
// A [Pool] is given a function that opens a resource, and lends resources out:
//
//	pool, err := core.New(core.Config[*conn]{Open: dial, Max: 10})
//	lease, err := pool.Acquire(ctx)
//	defer lease.Release()
//	lease.Value()…
//
// Taking and returning a free resource is one compare-and-swap each: no lock, no
// clock read, no allocation. Callers that have to wait stand in one line, in the
// order they came. A [Keyed] is a pool for each key, within common limits.
//
// # Sharing
//
// With [Config.ShareLimit] above 1 a resource carries that many leases at once, as
// an HTTP/2 connection does. A caller that needs one to itself says so with
// [AcquireOptions].Exclusive.
//
// # Opening and closing
//
// Resources are opened on goroutines of the pool, whose contexts know nothing of
// the callers: a caller that gives up does not cancel an open, and its deadline
// does not shorten one. Failed opens are retried; when they keep failing a circuit
// breaker lets only single trials through. A pool keeper probes idle resources,
// replaces old ones, closes what is idle beyond Min and opens what is missing.
//
// # Concurrency
//
// All methods of all types may be called from several goroutines at once, and from
// callbacks and hooks. Callbacks run on goroutines of the pool, outside every lock,
// with a deadline. One that ignores the end of its context is abandoned, counted
// in [Stats].Abandoned until it returns, and what it opened late is closed.
//
// # Errors
//
// [ErrClosed], [ErrExhausted] and [ErrCircuitOpen] are what callers branch on, with
// errors.Is. [ExhaustedError], [CircuitOpenError], [OpenError] and [PinLostError]
// say more. The errors of the caller's context and of Open are found behind them by
// errors.Is and errors.As.
//
// # Time
//
// A pool reads no clock while it hands out free resources. Idle times and the age
// of leaks are exact to one sweep of the keeper, which comes by a quarter of the
// shortest time it has to tell, and at least every ten seconds.
package core
