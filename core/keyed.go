package core

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"sync/atomic"
	"time"
)

// KeyedConfig says what a Keyed holds. Open is required; zero values mean the
// defaults, Off (-1) none, and NewKeyed copies it.
type KeyedConfig[K comparable, T Resource] struct {
	// Open makes a resource for a key. Required.
	Open func(ctx context.Context, key K) (T, error)
	// Pool is what each key's pool is like: Min and Max are per key; MaxOpening,
	// the circuit and the hooks serve all keys together. Its Open stays nil.
	Pool Config[T]
	// MaxTotal is how many resources all keys together may have. Default: 100.
	// Off: no limit.
	MaxTotal int
	// MaxKeys is how many keys are served at once; past it the key that was idle
	// longest gives way, and if none is idle Acquire fails with ErrTooManyKeys. Of
	// keys used within the same sweep of the keeper, the one used least gives way.
	// Default: 1000. Off: no limit.
	MaxKeys int
	// KeyIdleTime is how long a key may stay unused before its resources, Min
	// included, are closed and the key is forgotten. It is never shorter, and at
	// most a quarter or ten seconds longer. Default: 5 min. Off: keys stay.
	KeyIdleTime time.Duration
	// KeyFault tells whether a failure to open is the key's own, its credentials
	// refused say, and not the endpoint's: then it counts on the key's circuit
	// and leaves the shared one alone. Default: no failure is.
	KeyFault func(err error) bool
	// KeyName names a key in errors and hook events. It runs on the goroutine that
	// acquires; if it panics the name is Pool.Name. Keys may be secret, so by
	// default all have Pool.Name.
	KeyName func(key K) string
}

// Keyed is a pool for each key behind one Acquire: the keys never share a
// resource, but share the limit on them all, the budget of opens, the circuit and
// the keeper. At the overall limit those who wait form one line across keys.
// An idle resource of the key used least recently is closed for them; if there is
// none, the next one released whose own key has no older waiter, which, if others
// share it, is closed when the last of them is done.
//
// All methods may be called from several goroutines at once.
type Keyed[K comparable, T Resource] struct {
	// Immutable after creation.
	cfg KeyedConfig[K, T]
	hub *hub[T]

	// read is a copy of pools, perhaps an old one: a key missing or closed in it is
	// looked up again under the lock.
	read atomic.Pointer[map[K]*Pool[T]]

	// Guarded by hub.mu.
	pools  map[K]*Pool[T]
	misses int   // of read, since it was copied
	past   Stats // of the keys that were closed
}

// NewKeyed returns a Keyed, which opens nothing before it is asked. It returns
// every fault of cfg, joined, as *ConfigError.
func NewKeyed[K comparable, T Resource](cfg KeyedConfig[K, T]) (*Keyed[K, T], error) {
	f := faults{}
	if cfg.Open == nil {
		f.add("Open", nil, "is required: give the function that makes a resource for a key")
	}
	if cfg.Pool.Open != nil {
		f.add("Pool.Open", "func", "is set: Keyed opens with KeyedConfig.Open")
	}
	f.count("MaxTotal", &cfg.MaxTotal, 100, unlimited)
	f.count("MaxKeys", &cfg.MaxKeys, 1000, unlimited)
	f.span("KeyIdleTime", &cfg.KeyIdleTime, 5*time.Minute)
	cfg.Pool.Open = func(context.Context) (t T, err error) { return t, nil } // each key's own replaces it
	perKey, err := cfg.Pool.withDefaults()
	for _, fault := range unjoin(err) {
		if e, ok := errors.AsType[*ConfigError](fault); ok {
			fault = &ConfigError{Field: "Pool." + e.Field, Value: e.Value, Problem: e.Problem}
		}
		f.list = append(f.list, fault)
	}
	if err == nil && perKey.Min > cfg.MaxTotal && cfg.MaxTotal > 0 {
		f.add("Pool.Min", perKey.Min, fmt.Sprintf("is more than MaxTotal (%d)", cfg.MaxTotal))
	}
	if err := errors.Join(f.list...); err != nil {
		return nil, err
	}
	cfg.Pool = perKey
	k := &Keyed[K, T]{cfg: cfg, pools: make(map[K]*Pool[T])}
	k.read.Store(&map[K]*Pool[T]{})
	k.hub = newHub(cfg.MaxTotal, perKey.MaxOpening, &perKey)
	k.hub.tend = k.tendLocked
	return k, nil
}

var errLostKey = errors.New("core: the key does not equal itself (a NaN): nobody could find its resources again")

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return nil
}

// Acquire returns a lease on a resource of key, as Pool.Acquire does. Beyond the
// errors of that it may fail with ErrTooManyKeys.
func (k *Keyed[K, T]) Acquire(ctx context.Context, key K) (Lease[T], error) {
	if p := (*k.read.Load())[key]; p != nil {
		if l, err := p.Acquire(ctx); err != ErrClosed { //nolint:errorlint // the bare one says that the pool is gone
			return l, err
		}
	}
	return k.AcquireWith(ctx, key, AcquireOptions{})
}

// AcquireWith is Acquire with options. Affinity keys belong to their key.
func (k *Keyed[K, T]) AcquireWith(ctx context.Context, key K, o AcquireOptions) (Lease[T], error) {
	if ctx == nil {
		return Lease[T]{}, ErrNilContext
	}
	if ctx.Err() != nil { // a call that cannot succeed makes no key, and drops none for it
		return Lease[T]{}, contextError(ctx)
	}
	for {
		p, err := k.pool(key)
		if err != nil {
			return Lease[T]{}, err
		}
		l, err := p.acquire(ctx, o)
		if err != ErrClosed { //nolint:errorlint // as above
			return l, err
		}
		// The key was closed in between, or everything is; pool tells.
	}
}

// TryAcquire is Acquire without waiting, as Pool.TryAcquire.
func (k *Keyed[K, T]) TryAcquire(ctx context.Context, key K) (Lease[T], bool) {
	l, err := k.AcquireWith(ctx, key, AcquireOptions{NoWait: true})
	return l, err == nil
}

// Do calls fn with a leased resource of key, as Pool.Do.
func (k *Keyed[K, T]) Do(ctx context.Context, key K, fn func(ctx context.Context, res T) error) error {
	if fn == nil {
		return errNilFunc
	}
	l, err := k.Acquire(ctx, key)
	if err != nil {
		return err
	}
	return l.slot.pool.doWith(ctx, l, fn)
}

// pool returns the pool of key, a new one if there is none.
func (k *Keyed[K, T]) pool(key K) (*Pool[T], error) {
	if p := (*k.read.Load())[key]; p != nil && p.ctx.Err() == nil {
		return p, nil
	}
	if other := key; other != key {
		return nil, errLostKey
	}
	name := k.nameOf(key)
	h := k.hub
	h.lock()
	defer h.unlock()
	if h.closed {
		return nil, ErrClosed
	}
	p := k.pools[key]
	if p == nil {
		if len(k.pools) >= k.cfg.MaxKeys && !k.evictKeyLocked() {
			return nil, ErrTooManyKeys
		}
		cfg := k.cfg.Pool
		cfg.Name = name
		cfg.Open = func(ctx context.Context) (T, error) { return k.cfg.Open(ctx, key) }
		p = newPool(h, cfg)
		p.keyFault = k.cfg.KeyFault
		p.usedAt, p.moves = h.now(), 1 // its first lease is the one it is made for
		k.pools[key] = p
		p.joinLocked()
		if k.cfg.KeyIdleTime != never {
			h.alarmLocked(p.usedAt + int64(k.glanceEvery()))
		}
	}
	k.missLocked()
	return p, nil
}

// missLocked notes that read was found out of date, and renews it once that has
// happened as often as there are keys to copy. REQUIRES: the lock.
func (k *Keyed[K, T]) missLocked() {
	if k.misses++; k.misses >= len(k.pools) {
		read := maps.Clone(k.pools)
		k.read.Store(&read)
		k.misses = 0
	}
}

// nameOf asks KeyName, on the caller's goroutine.
func (k *Keyed[K, T]) nameOf(key K) (name string) {
	if k.cfg.KeyName == nil {
		return k.cfg.Pool.Name
	}
	defer func() {
		if recover() != nil {
			k.hub.late.panics.Add(1)
			name = k.cfg.Pool.Name
		}
	}()
	return k.cfg.KeyName(key)
}

func (k *Keyed[K, T]) glanceEvery() time.Duration {
	return min(max(k.cfg.KeyIdleTime/4, time.Millisecond), 10*time.Second)
}

// tendLocked closes the keys that were idle too long, and returns when to look
// again. REQUIRES: the lock.
func (k *Keyed[K, T]) tendLocked(now int64) int64 {
	if k.cfg.KeyIdleTime == never || len(k.pools) == 0 {
		return math.MaxInt64
	}
	h := k.hub
	if every := int64(k.glanceEvery()); now-h.lastGlance < every {
		return h.lastGlance + every
	}
	h.lastGlance = now
	for key, p := range k.pools {
		p.glanceLocked(now)
		if now-p.usedAt >= int64(k.cfg.KeyIdleTime) {
			k.dropLocked(key, p)
		}
	}
	if len(k.pools) == 0 {
		return math.MaxInt64
	}
	return now + int64(k.glanceEvery())
}

// evictKeyLocked closes the key that was idle longest. REQUIRES: the lock.
func (k *Keyed[K, T]) evictKeyLocked() bool {
	tried := make(map[K]bool)
	now := k.hub.now()
	for {
		var coldest K
		var pool *Pool[T]
		for key, p := range k.pools {
			if p.glanceLocked(now); tried[key] || p.inUseLocked() {
				continue
			}
			if pool == nil || p.colderLocked(pool) {
				coldest, pool = key, p
			}
		}
		if pool == nil {
			return false
		}
		if k.dropLocked(coldest, pool) {
			return true
		}
		tried[coldest] = true
	}
}

// inUseLocked tells whether somebody has, or waits for, a resource of p.
// REQUIRES: the lock.
func (p *Pool[T]) inUseLocked() bool {
	if p.queue.len+p.side.len > 0 || p.opening > 0 || p.retiring > 0 || p.probing > 0 {
		return true
	}
	_, leased := p.movesLocked()
	return leased > 0
}

// dropLocked closes the pool of key, unless it came into use just now.
// REQUIRES: the lock.
func (k *Keyed[K, T]) dropLocked(key K, p *Pool[T]) bool {
	if p.inUseLocked() || !p.closeDoorsLocked() {
		return false
	}
	p.shutLocked(ReasonNone)
	for _, s := range p.slots() {
		if s.word.Load()&flagRetiring != 0 {
			s.reason = ReasonKeyClosed
			p.retiring++
			p.buryLocked(s)
		}
	}
	delete(k.pools, key)
	k.missLocked() // so that read does not keep it for ever
	k.hub.leaveLocked(p)
	s := p.Stats()
	s.Min, s.Max, s.Abandoned, s.Circuit, s.Degraded = 0, 0, 0, BreakerClosed, false // these are of now
	k.past.add(s)
	k.past.CircuitOpens += p.circuit.opened.Load()
	return true
}

// closeDoorsLocked has no slot of p take a lease any more. If it comes too late
// for one, nothing has changed. REQUIRES: the lock.
func (p *Pool[T]) closeDoorsLocked() bool {
	slots := p.slots()
	for i, s := range slots {
		w := s.word.Load()
		if w&flagLive == 0 {
			continue
		}
		if w&(flagRetiring|flagBusy|flagWatched|leaseMask) != 0 || !s.word.CompareAndSwap(w, w|flagRetiring) {
			for _, s := range slots[:i] {
				s.mark(0, flagRetiring)
			}
			return false
		}
	}
	return true
}

// leaveLocked takes p, which has nothing left, off the hub's lists.
// REQUIRES: the lock.
func (h *hub[T]) leaveLocked(p *Pool[T]) {
	for i, other := range h.pools {
		if other == p {
			last := len(h.pools) - 1
			h.pools[i], h.pools[last] = h.pools[last], nil
			h.pools = h.pools[:last]
			break
		}
	}
	h.feedLocked() // p is closed, so it is not hungry any more
}

// Evict retires every resource of key made before now, as Pool.Evict.
func (k *Keyed[K, T]) Evict(key K) { k.EvictFor(key, nil) }

// EvictFor is Evict with a cause, as Pool.EvictFor.
func (k *Keyed[K, T]) EvictFor(key K, cause error) {
	k.hub.lock()
	p := k.pools[key]
	k.hub.unlock()
	if p != nil {
		p.EvictFor(cause)
	}
}

// Len returns how many keys are served.
func (k *Keyed[K, T]) Len() int {
	k.hub.lock()
	defer k.hub.unlock()
	return len(k.pools)
}

// Stats returns the counts of all keys together, those closed since included.
// Min and Max are sums over the keys served now; MaxTotal bounds them.
func (k *Keyed[K, T]) Stats() Stats {
	k.hub.lock()
	defer k.hub.unlock()
	total := k.past
	total.Name, total.Uptime = k.cfg.Pool.Name, time.Duration(k.hub.now())
	for _, p := range k.pools {
		total.add(p.Stats())
		total.CircuitOpens += p.circuit.opened.Load()
	}
	total.Closing, total.Abandoned = k.hub.closing, k.hub.strays
	late := &k.hub.late // counted here too, because they may come after their key has gone
	total.StaleReleases, total.CloseErrors = late.stale.Load(), late.closeFailures.Load()
	total.Panics, total.DroppedEvents = late.panics.Load(), late.dropped.Load()
	total.Circuit = max(total.Circuit, k.hub.circuit.shown())
	total.CircuitOpens += k.hub.circuit.opened.Load()
	total.Ready = !k.hub.closed
	return total
}

// KeyStats returns the counts of one key, and whether it is served now.
func (k *Keyed[K, T]) KeyStats(key K) (Stats, bool) {
	k.hub.lock()
	p := k.pools[key]
	k.hub.unlock()
	if p == nil {
		return Stats{}, false
	}
	return p.Stats(), true
}

// All returns the keys served now and their counts.
func (k *Keyed[K, T]) All() iter.Seq2[K, Stats] {
	return func(yield func(K, Stats) bool) {
		k.hub.lock()
		pools := maps.Clone(k.pools)
		k.hub.unlock()
		for key, p := range pools {
			if !yield(key, p.Stats()) {
				return
			}
		}
	}
}

// Snapshot returns what is known of each live resource of key.
func (k *Keyed[K, T]) Snapshot(key K) []ResourceInfo {
	k.hub.lock()
	p := k.pools[key]
	k.hub.unlock()
	if p == nil {
		return nil
	}
	return p.Snapshot()
}

// Close ends all keys, as Pool.Close.
func (k *Keyed[K, T]) Close(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	return k.hub.close(ctx, k.cfg.Pool.Name)
}
