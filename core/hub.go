package core

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"
)

// hub is what pools that share limits have in common: the lock, the ledger, the
// overall limits, the circuit, the keeper's alarm and the queue of hook calls. A
// Pool made by New has a hub of its own; the pools of a Keyed share one.
type hub[T Resource] struct {
	// Immutable after creation.
	epoch      time.Time // zero of the pool's clock
	ledger     *puddle.Pool[*resource[T]]
	maxPlaces  int // resources of all pools together
	maxOpening int

	// starved is how many opens wait for a place that only another pool can give
	// up. Releases look at it after they have parked their slot.
	_       [64]byte
	starved atomic.Int32
	_       [64]byte

	// What is counted for all pools together, beside the count of each.
	late struct{ stale, closeFailures, panics, dropped atomic.Uint64 }

	jobs    sync.WaitGroup // goroutines of the pools, and an armed alarm
	drained chan struct{}  // closed when the hub is closed and no resource lives
	done    chan struct{}  // closed when nothing of the hub is left

	_  [64]byte
	mu sync.Mutex

	// Guarded by mu. What every waiter changes comes first, beside the lock.
	woken    *waiter[T] // served, to be signalled when the lock is free
	seq      uint64     // age of the youngest waiter
	_        [40]byte
	pools    []*Pool[T]
	hungry   []*Pool[T] // those that need opens
	places   int        // resources of all pools, opening and closing ones included
	opening  int
	closing  int
	pledged  int // leased slots that retire for a waiter of another pool
	circuit  circuit
	recheck  bool // the circuit changed, which concerns every pool
	timer    *time.Timer
	armed    bool
	alarmAt  int64
	events   []event[T]
	emitting bool
	quiet    chan struct{} // unless nil, closed when no event is left
	closed   bool
	gone     bool
	revoked  int
	cause    error // why leases were revoked
	left     int   // strays when all else had ended
	strays   int   // abandoned callbacks that have not come back

	tend       func(now int64) int64 // the keeper's duty for keys; nil without
	lastGlance int64                 // when it last looked which keys are used
}

func newHub[T Resource](maxPlaces, maxOpening int, cfg *Config[T]) *hub[T] {
	h := &hub[T]{
		epoch:      time.Now(),
		maxPlaces:  maxPlaces,
		maxOpening: maxOpening,
		drained:    make(chan struct{}),
		done:       make(chan struct{}),
	}
	h.circuit.threshold, h.circuit.min, h.circuit.max = cfg.CircuitFailures, cfg.CircuitMin, cfg.CircuitMax
	// The one error NewPool has is about MaxSize. Nobody queues in puddle: the
	// limit is kept here.
	h.ledger, _ = puddle.NewPool(&puddle.Config[*resource[T]]{
		Constructor: construct[T],
		Destructor:  func(r *resource[T]) { r.pool.destruct(r) },
		MaxSize:     math.MaxInt32,
	})
	return h
}

// now reads the pool's clock: nanoseconds since the hub was made, monotonic.
func (h *hub[T]) now() int64 { return int64(time.Since(h.epoch)) }

// time turns a reading of the pool's clock into a time.
func (h *hub[T]) time(at int64) time.Time { return h.epoch.Add(time.Duration(at)) }

func (h *hub[T]) lock() { h.mu.Lock() }

// unlock gives the lock back and then wakes those who were served under it.
func (h *hub[T]) unlock() {
	w := h.woken
	h.woken = nil
	h.mu.Unlock()
	for w != nil {
		next := w.next // w is its own again as soon as it is signalled
		w.next = nil
		w.ready <- struct{}{}
		w = next
	}
}

// alarmLocked has the keeper look at the pools no later than at.
// REQUIRES: the lock.
func (h *hub[T]) alarmLocked(at int64) {
	if h.closed || at == math.MaxInt64 || h.armed && h.alarmAt <= at {
		return
	}
	wait := time.Duration(max(at-h.now(), 0))
	switch {
	case h.timer == nil:
		h.jobs.Add(1)
		h.timer = time.AfterFunc(wait, h.ring)
	case !h.armed:
		h.jobs.Add(1)
		h.timer.Reset(wait)
	case h.timer.Stop():
		h.timer.Reset(wait)
	default:
		return // it is ringing: the keeper is about to look anyway
	}
	h.armed, h.alarmAt = true, at
}

// disarmLocked stops the alarm for good. REQUIRES: the lock.
func (h *hub[T]) disarmLocked() {
	if h.armed && h.timer.Stop() {
		h.armed = false
		h.jobs.Done()
	}
}
