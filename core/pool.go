package core

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Pool holds up to Max open resources and lends them out. Make one with New, end
// it with Close. All methods may be called from several goroutines at once, and
// from callbacks and hooks too.
//
// Lock order: hub.mu, then affinity.mu or puddle's own lock; those two are leaves.
// No callback, hook or method of a caller's context runs under any of them.
type Pool[T Resource] struct {
	// Immutable after creation.
	cfg          Config[T]
	hub          *hub[T]
	began        int64 // by the hub's clock
	share        int
	growAt       int
	resets       bool // a resource may want a Reset after its last lease
	plainAcquire bool // nobody observes acquires
	plainRelease bool // a release is one step on the slot's word
	sweepEvery   time.Duration
	keyFault     func(error) bool
	ctx          context.Context // of callbacks; ends when the pool closes
	cancel       context.CancelFunc
	readyCh      chan struct{} // closed when Min is reached for the first time
	closedCh     chan struct{} // closed when the pool begins to close

	// Read by every Acquire and Release, written only off the fast path.
	_        [64]byte
	table    atomic.Pointer[table[T]]
	hints    atomic.Pointer[hints] // nil until two callers race for a slot
	waiting  atomic.Bool           // somebody is in queue; written under the lock
	claims   atomic.Int32          // callers in side that want any slot alone; written under the lock
	growable atomic.Bool           // an open would start if one were asked for
	weak     atomic.Int32          // slots with flagWeak; written under the lock
	_        [64]byte

	ids      atomic.Uint64
	waiters  atomic.Uint32         // ever made
	lastErr  atomic.Pointer[error] // why the last open failed; nil once one succeeds
	tally    tally
	ready    atomic.Bool // written under the lock
	degraded atomic.Bool // written under the lock

	idleWaiters sync.Pool
	keys        affinity[T]

	// Guarded by hub.mu. What every waiter changes comes first, close together: a
	// line of the cache that moves between processors costs as much as a lock.
	_        [64]byte
	queue    line[T]       // whom any seat can serve
	queued   atomic.Int32  // how many, for readers without the lock
	waits    atomic.Uint64 // those who had to wait, ever; written under the lock
	_        [32]byte
	side     line[T] // who waits for one slot, or wants one alone
	min, max int
	live     int // resources in slots
	retiring int // of those, how many take no new lease
	opening  int
	oneOffs  int // of those opening, how many are for one lease
	closing  int
	probing  int
	// How many the periodic probes have condemned since then, and may until an
	// interval later.
	condemned, condemnable int
	condemnedSince         int64

	strayOpens  int // abandoned callbacks that have not come back
	strayCloses int
	strayOthers int
	evictions   uint64
	fails       int   // opens that came to nothing, in a row
	retryAt     int64 // no open before, unless somebody waits and nothing is alive
	nextSweep   int64
	circuit     circuit // for failures that are this key's own
	replace     *slot[T]
	replaceID   uint64
	replacing   bool // the open that replaces it is under way
	grow        bool
	hungry      bool
	seq         uint64 // age among the pools of the hub
	moves       uint64 // leases ever, at the last glance
	heat        uint64 // how many there were between the last two glances that saw any
	usedAt      int64  // when a glance last saw them move
	closed      bool
}

// New returns a pool, which begins to open Min resources at once. It returns
// every fault of cfg, joined, as *ConfigError.
func New[T Resource](cfg Config[T]) (*Pool[T], error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	h := newHub(unlimited*2, cfg.MaxOpening, &cfg)
	p := newPool(h, cfg)
	h.lock()
	p.joinLocked()
	h.unlock()
	return p, nil
}

// newPool returns a pool that has not joined its hub yet. cfg has its defaults.
func newPool[T Resource](h *hub[T], cfg Config[T]) *Pool[T] {
	_, resets := abilities[T]()
	p := &Pool[T]{
		cfg:        cfg,
		hub:        h,
		began:      h.now(),
		share:      cfg.ShareLimit,
		growAt:     cfg.GrowAt,
		resets:     resets || cfg.Reset != nil,
		sweepEvery: cfg.sweepInterval(),
		readyCh:    make(chan struct{}),
		closedCh:   make(chan struct{}),
		min:        cfg.Min,
		max:        cfg.Max,
	}
	p.circuit.threshold, p.circuit.min, p.circuit.max = cfg.CircuitFailures, cfg.CircuitMin, cfg.CircuitMax
	p.ctx, p.cancel = context.WithCancel(context.Background())
	hooks := &cfg.Hooks
	p.plainAcquire = hooks.AcquireStart == nil && hooks.AcquireEnd == nil && hooks.Released == nil && !cfg.Stacks
	p.plainRelease = p.share == 1 && !p.resets && hooks.Released == nil
	p.keys.limit = cfg.MaxAffinityKeys
	p.table.Store(&table[T]{})
	p.tally.min.Store(int64(p.min))
	p.tally.max.Store(int64(p.max))
	return p
}

// joinLocked makes p one of its hub's pools and starts warming it up.
// REQUIRES: the lock.
func (p *Pool[T]) joinLocked() {
	h := p.hub
	h.pools = append(h.pools, p)
	h.seq++
	p.seq = h.seq
	p.readyLocked()
	if p.sweepEvery != never {
		p.nextSweep = h.now() + int64(p.sweepEvery)
		h.alarmLocked(p.nextSweep)
	}
	h.demandLocked(p)
}

// AcquireOptions say what kind of lease is wanted.
type AcquireOptions struct {
	// Key is an affinity key: the resource last used under the same key is looked
	// for. Empty means none.
	Key string
	// Affinity says what to do if that resource is busy or gone. Default: Prefer.
	Affinity Affinity
	// Exclusive wants the resource for this lease alone, whatever ShareLimit says.
	Exclusive bool
	// NoWait returns ErrExhausted, or ErrCircuitOpen, where Acquire would wait. An
	// open is started in the background where there is room for one.
	NoWait bool
}

// Acquire returns a lease on a resource, opening one if need be. It waits until
// there is one, AcquireTimeout has passed, or ctx ends, in the order of arrival.
//
// It fails with ErrExhausted (as *ExhaustedError) if the wait ended without one,
// with *OpenError or ErrCircuitOpen (as *CircuitOpenError) if none can be opened
// and none is alive, with ErrClosed, and with the error of a ctx that has ended
// before. An ended context never yields a lease.
func (p *Pool[T]) Acquire(ctx context.Context) (Lease[T], error) {
	if p.plainAcquire && ctx != nil && ctx.Err() == nil && !p.waiting.Load() {
		if l, ok := p.take(); ok {
			if p.share > 1 {
				p.growFor(l)
			}
			return l, nil
		}
	}
	return p.acquire(ctx, AcquireOptions{})
}

// AcquireWith is Acquire with options. Beyond the errors of Acquire it may fail
// with *PinLostError.
func (p *Pool[T]) AcquireWith(ctx context.Context, o AcquireOptions) (Lease[T], error) {
	return p.acquire(ctx, o)
}

// TryAcquire returns a lease if there is a free resource right now that nobody
// waits for. It never waits and never opens a resource on the caller's time; where
// there is room it starts an open in the background and returns false.
func (p *Pool[T]) TryAcquire(ctx context.Context) (Lease[T], bool) {
	l, err := p.acquire(ctx, AcquireOptions{NoWait: true})
	return l, err == nil
}

// Do calls fn with a leased resource and releases it afterwards. The resource is
// discarded if fn returns an error that Config.Broken calls broken, panics, or
// calls runtime.Goexit; a panic goes on to the caller. fn runs on the calling
// goroutine and gets ctx as it is.
func (p *Pool[T]) Do(ctx context.Context, fn func(ctx context.Context, res T) error) error {
	if fn == nil {
		return errNilFunc
	}
	l, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	return p.doWith(ctx, l, fn)
}

// doWith is Do with the lease taken.
func (p *Pool[T]) doWith(ctx context.Context, l Lease[T], fn func(ctx context.Context, res T) error) (err error) {
	returned := false
	defer func() {
		switch {
		case !returned:
			p.discard(l, ReasonBroken, nil)
		case err != nil && p.ask("Broken", p.cfg.Broken, err):
			p.discard(l, ReasonBroken, err)
		default:
			l.Release()
		}
	}()
	err = fn(ctx, l.Value())
	returned = true
	return err
}

// acquire is every kind of acquire, hooks included.
func (p *Pool[T]) acquire(ctx context.Context, o AcquireOptions) (l Lease[T], err error) {
	if ctx == nil {
		return Lease[T]{}, ErrNilContext
	}
	if p.plainAcquire {
		l, _, err = p.admit(ctx, o)
		return l, err
	}
	ctx = p.observeAcquire(ctx)
	l, waited, err := p.admit(ctx, o)
	if err == nil && (p.cfg.Stacks || p.cfg.Hooks.Released != nil) {
		p.stamp(l)
	}
	p.observeAcquired(ctx, l, waited, err)
	return l, err
}

// admit is acquire without hooks. It returns how long it waited.
func (p *Pool[T]) admit(ctx context.Context, o AcquireOptions) (l Lease[T], waited time.Duration, err error) {
	if ctx.Err() != nil {
		return l, 0, contextError(ctx)
	}
	bound, ok := false, false
	if !p.waiting.Load() && (!o.Exclusive || p.share == 1) {
		if l, bound, ok = p.takeFor(o); ok && p.share > 1 {
			p.growFor(l)
		}
	}
	if !ok {
		if l, waited, err = p.wait(ctx, o); err != nil {
			return l, waited, err
		}
	}
	if o.Key != "" && !bound {
		if r := l.resource(); r != nil {
			p.keys.bind(o.Key, l.slot, r.id)
		}
	}
	return l, waited, nil
}

// takeFor takes a free seat as o asks for, without waiting, and tells whether it is
// the one that o's key is bound to.
func (p *Pool[T]) takeFor(o AcquireOptions) (l Lease[T], bound, ok bool) {
	if o.Key == "" {
		l, ok = p.take()
		return l, false, ok
	}
	s, id, alive := p.keys.find(o.Key)
	if alive {
		if l, ok := s.claim(flagLive, p.share, 0, 0); ok {
			if s.res.Load().id == id {
				return l, true, true
			}
			p.release(l, false)
		}
	}
	if o.Affinity == Prefer {
		l, ok = p.take()
	}
	return l, false, ok
}

// stamp notes when, and where, a lease began.
func (p *Pool[T]) stamp(l Lease[T]) {
	seat := l.slot.seats.at(l.token & (1<<seatBits - 1))
	if p.cfg.Hooks.Released != nil {
		seat.since.Store(p.hub.now())
	}
	if p.cfg.Stacks {
		pcs := make([]uintptr, 32)
		pcs = pcs[:runtime.Callers(4, pcs)]
		seat.stack.Store(&pcs)
	}
}
