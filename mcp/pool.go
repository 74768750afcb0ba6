package mcpool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/core"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Pool lends out MCP sessions with one endpoint and makes calls on them. Make
// one with Open, end it with Close. All methods may be called from several
// goroutines at once.
//
// Lock order: list.mu, Pool.mu, then backend.mu or core's locks. conn.mu and the
// locks of listeners and eras are leaves. No callback runs under any of them.
type Pool struct {
	// Immutable after creation.
	cfg        Config
	kind       transportKind
	endpoint   *url.URL // nil unless the endpoint is HTTP
	address    string   // the endpoint as text
	base       http.RoundTripper
	ownBase    *http.Transport // nil if base is the user's
	provider   auth.Provider
	ownAuth    bool
	plain      options // of a call without any
	hashKey    [32]byte
	began      time.Time
	ctx        context.Context // of what runs in the background; ends when Close begins
	cancel     context.CancelFunc
	over       context.Context // has ended
	drainCtx   context.Context // ends when Close loses its patience
	drainStop  context.CancelFunc
	def        *identity
	era        eraMemory
	crashes    crashes
	background sync.WaitGroup
	callbacks  sync.WaitGroup // of core's that run; core abandons those that are slow to end

	backend    atomic.Pointer[backend]
	identities registry // key → *identity, without def
	min, max   atomic.Int64
	swaps      atomic.Int32
	tokens     atomic.Uint64
	serials    atomic.Uint64
	counts     counts
	warned     warned
	journal    *journal
	clients    clients
	everAlive  atomic.Bool  // some session has worked once
	downSince  atomic.Int64 // since when none does, on the pool's clock; 0 if they do

	mu            sync.Mutex
	closed        bool          // guarded by mu
	identityCount int           // guarded by mu
	leaving       []*backend    // guarded by mu; closing, their leases still out
	past          core.Stats    // guarded by mu; of backends that are gone
	swapped       chan struct{} // guarded by mu; closed when backend changes
	done          chan struct{} // closed when Close has its result
	result        error         // readable after done
}

// Open returns a pool. Unless Config.Lazy is set it waits until one session is
// live, Config.ConnectTimeout and its retries are used up, or ctx ends; if there is none
// by then it closes the pool and returns the reason. Every fault of cfg is
// returned at once, joined, as *ConfigError.
func Open(ctx context.Context, cfg Config) (*Pool, error) {
	if ctx == nil {
		return nil, core.ErrNilContext
	}
	p, err := newPool(cfg)
	if err != nil {
		return nil, err
	}
	if p.cfg.Lazy {
		return p, nil
	}
	if err := p.firstSession(ctx); err != nil {
		_ = p.Close(p.over) // nobody has anything to wait for
		return nil, err
	}
	return p, nil
}

// newPool returns a pool that has begun to open Min sessions.
func newPool(cfg Config) (*Pool, error) {
	cfg, kind, endpoint, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		cfg: cfg, kind: kind, endpoint: endpoint, began: time.Now(),
		swapped: make(chan struct{}), done: make(chan struct{}),
		era: eraMemory{pinned: cfg.ProtocolVersion}, journal: newJournal(cfg.Logger, cfg.Name),
	}
	if _, err := rand.Read(p.hashKey[:]); err != nil {
		return nil, fmt.Errorf("mcpool: %w", err)
	}
	p.plain = options{replay: cfg.Replay, timeout: cfg.CallTimeout}
	p.min.Store(int64(cfg.Min))
	p.max.Store(int64(cfg.Max))
	if kind.http() {
		p.address = endpoint.String()
		p.base, p.ownBase = newBase(&p.cfg)
	}
	if cfg.Auth != nil {
		p.provider = cfg.Auth
		if _, cached := cfg.Auth.(*auth.Cache); !cached {
			cache, err := auth.NewCache(cfg.Auth, auth.CacheConfig{Instance: cfg.Name})
			if err != nil {
				return nil, &ConfigError{Field: "Auth", Problem: err.Error()}
			}
			p.provider, p.ownAuth = cache, true
		}
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.over = ended()
	p.drainCtx, p.drainStop = context.WithCancel(context.Background())
	if p.def, err = p.newIdentity("i"+identityKey(cfg.Identity), cfg.Identity, false, nil); err == nil {
		p.mu.Lock() // sessions may open before the backend is stored
		var b *backend
		if b, err = p.newBackend(kind == kindHTTP && isModern(cfg.ProtocolVersion), poolKey{}, nil); err == nil {
			p.backend.Store(b)
		}
		p.mu.Unlock()
	}
	if err != nil {
		p.cancel()
		p.drainStop()
		return nil, err
	}
	p.background.Go(p.keep)
	if cfg.OnSchemaChanged != nil && !cfg.Lazy {
		p.start(func() { _, _ = p.ListTools(p.ctx) }) // to know what changes are changes from
	}
	return p, nil
}

// ended returns a context that has ended.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Ready tells whether the default identity has ever had Min sessions.
func (p *Pool) Ready() bool { return p.ctx.Err() == nil && p.backend.Load().def.Ready() }

// Degraded tells whether warming up has failed and calls get sessions of their
// own; see Config.Degrade.
func (p *Pool) Degraded() bool { return p.backend.Load().def.Degraded() }

// WaitReady waits until the default identity has Min sessions. It fails with
// ErrClosed, or with the error of ctx and the last failure to connect.
func (p *Pool) WaitReady(ctx context.Context) error {
	if ctx == nil {
		return core.ErrNilContext
	}
	for {
		b := p.backend.Load()
		err := b.def.WaitReady(ctx)
		if err == nil || !errors.Is(err, ErrClosed) || p.backend.Load() == b {
			return err
		}
	}
}

// Resize changes Min and Max for the default identity, with the meaning they have
// in Config except that 0 is 0 for minimum and an error for maximum. The overall
// limit moves by as much as Max does. It does not wait.
func (p *Pool) Resize(ctx context.Context, minimum, maximum int) error {
	b := p.backend.Load()
	if !b.modern {
		if err := b.def.Resize(ctx, minimum, maximum); err != nil {
			return fromCore(err)
		}
		p.min.Store(int64(max(minimum, 0)))
		p.max.Store(int64(maximum))
		return nil
	}
	// Sessions are client-side objects here, and how many there may be is how many
	// calls may share the one: that takes another backend.
	switch {
	case ctx == nil:
		return core.ErrNilContext
	case ctx.Err() != nil:
		return contextError(ctx)
	case maximum < 1:
		return &ConfigError{Field: "Max", Value: maximum, Problem: "is not a limit to resize to: give at least 1"}
	case minimum < Off || minimum > maximum:
		return &ConfigError{Field: "Min", Value: minimum, Problem: "is not between 0 and Max"}
	}
	p.min.Store(int64(max(minimum, 0)))
	p.max.Store(int64(maximum))
	return p.swap(b, true, poolKey{}, nil)
}

// firstSession waits for one session of the default identity.
func (p *Pool) firstSession(ctx context.Context) error {
	l, _, err := p.lease(ctx, p.def, &options{}, 0)
	if err != nil {
		return err
	}
	l.Release()
	return nil
}

// now is the pool's clock: monotonic, and above zero.
func (p *Pool) now() int64 { return int64(time.Since(p.began)) + 1 }

// keep is the pool's one goroutine: it forgets identities nobody uses.
func (p *Pool) keep() {
	every := min(max(p.cfg.IdentityIdleTime/4, time.Millisecond), 10*time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			p.sweepIdentities(now)
		case <-p.ctx.Done():
			return
		}
	}
}

// fromCore turns faults that core found into the pool's own words.
func fromCore(err error) error {
	names := map[string]string{
		"OpenTimeout": "ConnectTimeout", "OpenRetries": "ConnectRetries", "ShareLimit": "CallsPerSession",
		"MaxTotal": "MaxSessions", "KeyIdleTime": "IdentityIdleTime",
	}
	var list []error
	seen := make(map[string]bool)
	var walk func(error)
	walk = func(err error) {
		if j, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range j.Unwrap() {
				walk(e)
			}
			return
		}
		var fault *core.ConfigError
		if !errors.As(err, &fault) {
			list = append(list, err)
			return
		}
		field := fault.Field
		if len(field) > 5 && field[:5] == "Pool." {
			field = field[5:]
		}
		if name, ok := names[field]; ok {
			field = name
		}
		if !seen[field] {
			seen[field] = true
			list = append(list, &ConfigError{Field: field, Value: fault.Value, Problem: fault.Problem})
		}
	}
	walk(err)
	return errors.Join(list...)
}
