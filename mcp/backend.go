package mcpool

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"os/exec"
	"sync"

	"github.com/go-mcpool/mcpool/core"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// backend is the core pools behind a Pool: one for the default identity, which is
// kept warm, and one for each other. How many calls share a session depends on the
// era that the endpoint speaks, so a pool gets another backend when that turns
// out to be another one than thought.
type backend struct {
	// Immutable after creation.
	pool   *Pool
	modern bool // made for sessions that are client-side objects
	share  int
	def    *core.Pool[*conn]
	others *core.Keyed[poolKey, *conn]

	mu    sync.Mutex
	seeds map[poolKey]*conn // guarded by mu; sessions opened before the backend was
}

// newBackend returns a backend for the era. seed, if not nil, is the first
// session of k.
func (p *Pool) newBackend(modern bool, k poolKey, seed *conn) (*backend, error) {
	b := &backend{pool: p, modern: modern, seeds: make(map[poolKey]*conn)}
	if seed != nil {
		b.seeds[k] = seed
	}
	cfg := p.coreConfig(b)
	defKey := poolKey{p.def, 0}
	others := cfg
	others.Min = 0
	maxOthers := p.cfg.MaxSessions - p.cfg.Max
	if modern {
		maxOthers = max(maxOthers, 2)
	}
	var err, err2 error
	b.others, err = core.NewKeyed(core.KeyedConfig[poolKey, *conn]{
		Open:        func(ctx context.Context, k poolKey) (*conn, error) { return p.open(ctx, b, k) },
		Pool:        others,
		MaxTotal:    max(maxOthers, 1),
		MaxKeys:     Off,
		KeyIdleTime: p.cfg.IdentityIdleTime,
		KeyFault:    isRefusal,
		KeyName:     func(k poolKey) string { return p.cfg.Name + "/" + k.id.label },
	})
	if err == nil { // last, because it begins to open sessions at once
		cfg.Open = func(ctx context.Context) (*conn, error) { return p.open(ctx, b, defKey) }
		b.def, err2 = core.New(cfg)
	}
	if err := errors.Join(err, err2); err != nil {
		if b.others != nil {
			_ = b.others.Close(context.Background()) // it has nothing
		}
		return nil, fromCore(err)
	}
	return b, nil
}

// coreConfig says what core's pools are like.
func (p *Pool) coreConfig(b *backend) core.Config[*conn] {
	c := &p.cfg
	share, minimum, maximum, growAt := c.CallsPerSession, int(p.min.Load()), int(p.max.Load()), 0
	if minimum == 0 {
		minimum = Off
	}
	if share == 0 {
		share = map[bool]int{false: 8, true: 1}[p.kind == kindCommand]
	}
	if b.modern {
		if c.CallsPerSession == 0 {
			share = 100
		}
		// One session carries everything; the second is there so that it can be
		// replaced. Together they bound the calls as Max sessions would.
		share, maximum, minimum, growAt = min((maximum*share+1)/2, maxShare), 2, min(minimum, 1), Off
	}
	b.share = share
	cfg := core.Config[*conn]{
		Name: c.Name, Min: minimum, Max: maximum, ShareLimit: share, GrowAt: growAt, MaxOpening: c.MaxOpening,
		AcquireTimeout: c.AcquireTimeout, OpenTimeout: c.ConnectTimeout,
		OpenRetries: c.ConnectRetries, RetryMin: c.RetryMin, RetryMax: c.RetryMax,
		CircuitFailures: c.CircuitFailures, CircuitMin: c.CircuitMin, CircuitMax: c.CircuitMax,
		MaxLifetime: c.MaxLifetime, RecycleWindow: c.RecycleWindow, MaxIdleTime: c.MaxIdleTime,
		ProbeInterval: c.ProbeInterval, ProbeTimeout: probeTimeout, LeakAfter: c.LeakAfter,
		Degrade: c.Degrade, Permanent: isPermanent,
		Probe: func(ctx context.Context, s *conn) error { return s.probe(ctx) },
		Hooks: p.coreHooks(),
	}
	if c.WarmupHook != nil {
		cfg.Warmup = p.warm
	}
	return cfg
}

// acquire returns a lease on a session of k.
func (b *backend) acquire(ctx context.Context, k poolKey, o core.AcquireOptions) (core.Lease[*conn], error) {
	if k.ability != 0 || k.id != b.pool.def {
		if o == (core.AcquireOptions{}) {
			return b.others.Acquire(ctx, k)
		}
		return b.others.AcquireWith(ctx, k, o)
	}
	if o == (core.AcquireOptions{}) {
		return b.def.Acquire(ctx)
	}
	return b.def.AcquireWith(ctx, o)
}

// evict retires the sessions of an identity that exist now. cause is nil if nothing is
// wrong with them.
func (b *backend) evict(id *identity, cause error) {
	if id == b.pool.def {
		b.def.EvictFor(cause)
	}
	for _, a := range allAbilities() {
		b.others.EvictFor(poolKey{id, a}, cause)
	}
}

// takeSeed returns the session that was opened for k before b was, once.
func (b *backend) takeSeed(k poolKey) *conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.seeds[k]
	delete(b.seeds, k)
	return s
}

// close ends both, and whatever seed nobody took.
func (b *backend) close(ctx context.Context) error {
	var wg sync.WaitGroup
	var err1, err2 error
	wg.Go(func() { err1 = b.def.Close(ctx) })
	wg.Go(func() { err2 = b.others.Close(ctx) })
	wg.Wait()
	b.mu.Lock()
	seeds := b.seeds
	b.seeds = nil
	b.mu.Unlock()
	for _, s := range seeds {
		_ = s.Close() // nobody had it
	}
	return errors.Join(err1, err2)
}

// maxSwaps is how often a pool follows an endpoint into the era without sessions
// at the server. Behind a balancer with servers of both it then stays where every
// server can be spoken with.
const maxSwaps = 3

// fits tells whether a session is of the era that b was made for.
func (p *Pool) fits(b *backend, s *conn) bool {
	if p.kind != kindHTTP || s.modern() == b.modern {
		return true
	}
	return s.modern() && p.swaps.Load() >= maxSwaps
}

// supersede replaces b by a backend for the era of s.
func (p *Pool) supersede(b *backend, k poolKey, s *conn) {
	p.swaps.Add(1)
	if err := p.swap(b, s.modern(), k, s); err != nil {
		_ = s.Close() // the pool is closed, or has moved on
	}
}

// swap replaces b. What is leased from it stays valid until it comes back.
func (p *Pool) swap(b *backend, modern bool, k poolKey, seed *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.backend.Load() != b {
		return ErrClosed
	}
	next, err := p.newBackend(modern, k, seed)
	if err != nil {
		return err
	}
	p.backend.Store(next)
	close(p.swapped)
	p.swapped = make(chan struct{})
	p.leaving = append(p.leaving, b)
	p.background.Go(func() {
		_ = b.close(p.drainCtx) // its leases are counted in the next Close
		p.mu.Lock()
		defer p.mu.Unlock()
		p.past = addStats(p.past, b.stats())
		for i, other := range p.leaving {
			if other == b {
				p.leaving = append(p.leaving[:i], p.leaving[i+1:]...)
				break
			}
		}
	})
	return nil
}

// isRefusal tells whether the endpoint is fine and just refuses the identity.
func isRefusal(err error) bool {
	var refusal *AuthError
	return errors.As(err, &refusal)
}

// isPermanent tells whether another attempt to connect is of no use.
func isPermanent(err error) bool {
	var (
		session *SessionError
		status  *StatusError
		refusal *AuthError
		refused *transport.RefusedError
		fault   *transport.ConfigError
		cert    *x509.UnknownAuthorityError
		host    x509.HostnameError
	)
	switch {
	case errors.As(err, &session) && session.Gone && errors.As(err, &status):
		return false // it was lost while it was being opened, whatever was answered
	case errors.As(err, &refusal):
		return refusal.Status != 0 || refusal.NeedsLogin
	case errors.As(err, &status):
		return status.Status < 500 && status.Status != http.StatusRequestTimeout
	case errors.Is(err, errSuperseded), errors.Is(err, ErrOrigin), errors.As(err, &cert), errors.As(err, &host),
		errors.As(err, &refused), errors.As(err, &fault):
		return true
	}
	return errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}
