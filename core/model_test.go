package core

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	errPeer      = errors.New("the peer is down")
	errPermanent = errors.New("the peer will never be up")
	errUseless   = errors.New("the resource is of no more use")
)

// TestNoRunOfCallsBreaksAnInvariant makes random calls on random pools, several
// at a time, and looks after each burst, when nothing moves any more, whether the
// pool is as it must be: see model_check_test.go. What a run did can be had again
// with MCPOOL_SEED, as far as the scheduler plays along; MCPOOL_STEPS makes
// it longer.
func TestNoRunOfCallsBreaksAnInvariant(t *testing.T) {
	seed, steps := uint64(time.Now().UnixNano()), 10_000
	if s := os.Getenv("MCPOOL_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("MCPOOL_SEED: %v", err)
		}
		seed = n
	}
	if s := os.Getenv("MCPOOL_STEPS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("MCPOOL_STEPS: %v", err)
		}
		steps = n
	}
	const life = 250 // steps in the life of one pool
	for ; steps > 0 && !t.Failed(); steps, seed = steps-life, seed+1 {
		synctest.Test(t, func(t *testing.T) {
			newModel(t, seed).run(min(life, steps))
		})
	}
	if t.Failed() {
		t.Logf("to see it again: MCPOOL_SEED=%d", seed-1)
	}
}

// model is what one pool should be like, and the people around it.
type model struct {
	t     *testing.T
	p     *Pool[*asset]
	pool  atomic.Pointer[Pool[*asset]] // the same, for hooks
	v     *vault
	cfg   Config[*asset]
	rng   *rand.Rand // of the driver alone
	burst int        // calls that run at once

	mu      sync.Mutex
	fate    *rand.Rand // of callbacks
	foul    bool       // many of them fail
	failed  bool       // a callback may have failed
	ended   bool       // Close has been called
	log     []string
	held    []*holder
	doing   int // functions given to Do that run
	past    []Lease[*asset]
	callers map[*caller]bool
	stale   uint64         // what StaleReleases should be
	bound   map[string]int // how often each key was bound
	thinks  opinions

	last    Stats
	resized bool              // in the last burst
	over    int               // resources beyond Max that a shrink still drains
	served  map[uint64]uint64 // by resource that retires: leases it has carried
}

// holder has a lease.
type holder struct {
	lease Lease[*asset]
	a     *asset
	alone bool
}

// caller is in the middle of an Acquire.
type caller struct {
	o      AcquireOptions
	ctx    context.Context
	cancel context.CancelFunc
	began  time.Time
	dead   bool   // its context had ended before
	expect uint64 // the resource that its pin has to get
	bound  int    // of its key, when it came
	better bool   // a slot was free that is to be preferred
}

func newModel(t *testing.T, seed uint64) *model {
	rng := rand.New(rand.NewPCG(seed, 0))
	m := &model{
		t: t, rng: rng, fate: rand.New(rand.NewPCG(seed, 1)),
		callers: make(map[*caller]bool), bound: make(map[string]int), served: make(map[uint64]uint64),
		thinks: opinions{of: make(map[*asset]opinion)},
	}
	m.cfg = m.drawConfig()
	m.v = newVault(max(m.cfg.ShareLimit, 1))
	m.v.resets = m.cfg.Reset != nil
	p, err := New(m.cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.p = p
	m.pool.Store(p)
	m.note("seed %d: Min %d, Max %d, ShareLimit %d, %+v", seed, m.cfg.Min, m.cfg.Max, m.cfg.ShareLimit, p.Stats())
	return m
}

// drawConfig makes up a pool.
func (m *model) drawConfig() Config[*asset] {
	rng := m.rng
	pick := func(ds ...time.Duration) time.Duration { return ds[rng.IntN(len(ds))] }
	c := Config[*asset]{
		Open: m.open, Close: m.closeAsset,
		Max:            1 + rng.IntN(5),
		ShareLimit:     []int{1, 1, 1, 2, 4}[rng.IntN(5)],
		MaxOpening:     1 + rng.IntN(4),
		AcquireTimeout: pick(0, 0, 700*time.Millisecond),
		OpenTimeout:    time.Second, OpenRetries: []int{Off, 1, 2}[rng.IntN(3)],
		CircuitFailures: []int{Off, 2, 5}[rng.IntN(3)],
		CloseTimeout:    500 * time.Millisecond, ResetTimeout: 500 * time.Millisecond, ProbeTimeout: 500 * time.Millisecond,
		MaxLifetime: pick(Off, 10*time.Second), RecycleWindow: time.Second,
		MaxIdleTime: pick(Off, 3*time.Second),
		LeakAfter:   pick(Off, 2*time.Second),
		Degrade:     rng.IntN(4) == 0,
		Stacks:      rng.IntN(8) == 0,
		Broken:      func(err error) bool { return errors.Is(err, errUseless) },
		Permanent:   func(err error) bool { return errors.Is(err, errPermanent) },
	}
	if rng.IntN(8) == 0 { // more than one row of slots
		c.Max, c.ShareLimit, c.MaxOpening = rowSize+4, 1, 8
	}
	if rng.IntN(2) == 0 {
		c.Min = rng.IntN(min(c.Max, 4) + 1)
	}
	if rng.IntN(2) == 0 {
		c.Probe = m.probe
		c.MaxCondemnedShare = []float64{0, 0.1, 1}[rng.IntN(3)]
		if m.thinks.lies = rng.IntN(4) == 0; m.thinks.lies {
			c.ProbeInterval, c.ProbeAfterIdle, c.MaxCondemnedShare = 2*time.Second, Off, 0.1
			c.Min, c.Max, c.ShareLimit = 6, 6, 1 // so that some are idle
		}
		c.ProbeInterval, c.ProbeAfterIdle = pick(Off, 2*time.Second), pick(Off, time.Second)
	}
	if rng.IntN(3) == 0 {
		c.Reset = func(ctx context.Context, a *asset) error { return m.look(ctx, "a reset", a) }
	}
	if rng.IntN(4) == 0 {
		c.Warmup = func(context.Context, *asset) error { return m.stumble() }
	}
	if rng.IntN(3) == 0 {
		c.Hooks = busyHooks(&m.pool)
	}
	m.foul = rng.IntN(4) == 0
	return c
}

// busyHooks sets every hook, and has it call the pool.
func busyHooks(pool *atomic.Pointer[Pool[*asset]]) Hooks {
	call := func() {
		if p := pool.Load(); p != nil {
			p.Stats()
			p.Snapshot()
		}
	}
	type carried struct{}
	start := func(ctx context.Context) context.Context {
		call()
		return context.WithValue(ctx, carried{}, true)
	}
	return Hooks{
		AcquireStart:  func(ctx context.Context, _ AcquireStart) context.Context { return start(ctx) },
		AcquireEnd:    func(context.Context, AcquireEnd) { call() },
		Released:      func(Released) { call() },
		OpenStart:     func(ctx context.Context, _ OpenStart) context.Context { return start(ctx) },
		OpenEnd:       func(context.Context, OpenEnd) { call() },
		CloseStart:    func(ctx context.Context, _ CloseStart) context.Context { return start(ctx) },
		CloseEnd:      func(context.Context, CloseEnd) { call() },
		ProbeStart:    func(ctx context.Context, _ ProbeStart) context.Context { return start(ctx) },
		ProbeEnd:      func(context.Context, ProbeEnd) { call() },
		CircuitOpened: func(CircuitOpened) { call() },
		CircuitClosed: func(CircuitClosed) { call() },
		Resized:       func(Resized) { call() },
		Degraded:      func(Degraded) { call() },
		Recovered:     func(Recovered) { call() },
		Leaked:        func(Leaked) { call() },
		Panicked:      func(Panicked) { panic("a hook for panics") },
	}
}

// mishap makes a callback fail in the ways that callbacks fail. Fair callbacks
// seldom do. It reports whether the callback should do its work after all.
func (m *model) mishap(ctx context.Context, timeout time.Duration) (ok bool, err error) {
	m.mu.Lock()
	odds := 24
	if m.foul {
		odds = 9
	}
	what, pause := m.fate.IntN(odds), time.Duration(m.fate.Int64N(int64(timeout)))
	m.failed = m.failed || what < 8
	m.mu.Unlock()
	switch what {
	case 0:
		return false, errPeer
	case 1:
		panic("a callback panics")
	case 2:
		runtime.Goexit()
	case 3: // it hangs as long as it is let
		<-ctx.Done()
		return false, ctx.Err()
	case 4: // and longer
		time.Sleep(2*timeout + pause)
		return pause%2 == 0, errPeer
	case 5, 6:
		time.Sleep(pause)
	case 7:
		return false, errPermanent
	}
	return true, nil
}

// open is Config.Open.
func (m *model) open(ctx context.Context) (*asset, error) {
	ok, err := m.mishap(ctx, time.Second)
	if !ok {
		if errors.Is(err, errPermanent) && time.Now().UnixNano()%2 == 0 {
			return nil, nil //nolint:nilnil // that is the point
		}
		return nil, err
	}
	return m.v.open(ctx)
}

// stumble is Config.Warmup.
func (m *model) stumble() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fate.IntN(8) == 0 {
		m.failed = true
		return errPeer
	}
	return nil
}

// closeAsset is Config.Close.
func (m *model) closeAsset(ctx context.Context, a *asset) error {
	_ = a.Close()
	_, err := m.mishap(ctx, 500*time.Millisecond)
	return err
}

// look is Config.Probe and Config.Reset. If it is going to outlive its deadline
// the asset may be closed meanwhile.
func (m *model) look(ctx context.Context, what string, a *asset) error {
	done := a.care(what)
	watch := context.AfterFunc(ctx, done)
	defer func() {
		watch()
		done()
	}()
	_, err := m.mishap(ctx, 500*time.Millisecond)
	if err == nil {
		a.dirty.Store(false)
	}
	return err
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf("%v ", time.Since(m.start()))+fmt.Sprintf(format, args...))
	if len(m.log) > 40 { // the first says what pool it is
		m.log = append(m.log[:1], m.log[2:]...)
	}
}

func (m *model) start() time.Time { return m.p.hub.epoch }
