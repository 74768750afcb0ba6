package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

var _ Provider = (*Cache)(nil)

// CacheConfig tunes a Cache. The zero value is right for most providers.
type CacheConfig struct {
	// Instance names the provider in errors; default "provider".
	Instance string
	// Timeout bounds one call of the provider's Credentials or Challenge, whatever
	// the deadlines of those who wait for it. Default 30 s.
	Timeout time.Duration
	// MaxKeys bounds how many combinations of identity, target and scopes are
	// remembered; beyond, the least recently used are dropped. Default 10 000.
	MaxKeys int
	// IdleExpiry is how long a combination nobody asks for is remembered, exact to
	// half of it. Default 1 h; -1 means until MaxKeys drops it.
	IdleExpiry time.Duration
	// BackoffMin is how long the first failure is remembered; each further one in a
	// row doubles it, up to BackoffMax, with a fifth of jitter. Defaults 500 ms, 1 min.
	BackoffMin, BackoffMax time.Duration
	// RetryAfterMax bounds how long a ThrottledError is believed. Default 15 min.
	RetryAfterMax time.Duration
	// OnRefresh is told of every finished Credentials call, nil for nobody. It runs
	// in the goroutine of that call, without locks, and may run several times at
	// once; it may block, but Close waits for it. A panic in it is swallowed.
	OnRefresh func(Refresh)
}

// Refresh describes one finished Credentials call of the provider.
type Refresh struct {
	Request    Request
	Background bool // the caller that caused it held valid credentials and went on
	Took       time.Duration
	Err        error
}

// CacheStats is a snapshot of a Cache.
type CacheStats struct {
	Keys       int    // combinations remembered now
	Running    int    // calls of the provider running now
	Refreshes  uint64 // Credentials calls finished
	Failures   uint64 // of which failed
	Challenges uint64 // Challenge calls finished
}

// Cache stands in front of a Provider and is one itself. It remembers credentials
// per identity (ID and Attrs), target and scopes, so that the provider is asked
// once for what many requests need.
//
//   - Who asks while credentials are valid gets them at once, without allocation.
//     In the last part of their lifetime (from RefreshAfter on, or after about
//     three quarters) such a call also starts a refresh in the background.
//   - Who asks while there are none waits for the one call that fetches them, and
//     leaves when its own context ends; the call goes on for the others.
//   - A failure is remembered with growing delays; meanwhile callers without
//     credentials get a *BackoffError at once, and valid ones stay in use.
//   - A Challenge reaches the provider once per refused generation; those that
//     refuse an older one are answered Retry at once. A server that refuses every
//     fresh credential is answered with growing delays too.
//
// Credentials count as expired a little early (a tenth of their lifetime, at most
// 10 s), so that they do not die on the way.
//
// A Cache starts no goroutine per identity: one per call of the provider, and a
// timer. Its methods may be called from any number of goroutines.
type Cache struct {
	// Immutable after creation.
	cfg      CacheConfig
	provider Provider
	signer   Signer
	login    Interactive
	observer Observer
	ctx      context.Context // ended by Close; parent of every call
	cancel   context.CancelFunc
	keys     table
	own      string // begins the generations of credentials whose provider gave none

	mu      sync.Mutex
	closed  bool          // guarded by mu
	running int           // guarded by mu; calls of the provider
	drained chan struct{} // guarded by mu; made by Close, closed when running falls to 0
	sweeper *time.Timer   // guarded by mu; nil while no key is remembered

	closing sync.Once
	done    chan struct{} // closed when Close has its result
	result  error         // readable after done

	refreshes, failures, challenges, generation atomic.Uint64
}

// NewCache returns a Cache in front of the provider, which it owns from then on:
// closing the cache closes the provider. The error joins a *ConfigError per fault.
func NewCache(provider Provider, cfg CacheConfig) (*Cache, error) {
	if err := cfg.setDefaults(provider); err != nil {
		return nil, err
	}
	c := &Cache{cfg: cfg, provider: provider, done: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.keys.init()
	// Unlike those of any other cache: the provider may be one.
	c.own = fmt.Sprintf("cache-%08x#", rand.Uint32()) //nolint:gosec // tells caches apart, and guards nothing
	if s, ok := AsSigner(provider); ok {
		c.signer = &cacheSigner{cache: c, signer: s}
	}
	if i, ok := AsInteractive(provider); ok {
		c.login = &cacheLogin{cache: c, interactive: i}
	}
	if o, ok := AsObserver(provider); ok {
		c.observer = &cacheObserver{cache: c, Observer: o}
	}
	return c, nil
}

func (cfg *CacheConfig) setDefaults(provider Provider) error {
	var errs []error
	bad := func(field, problem string) { errs = append(errs, &ConfigError{Field: field, Problem: problem}) }
	if provider == nil {
		bad("provider", "is nil")
	}
	if cfg.Instance == "" {
		cfg.Instance = "provider"
	}
	set := func(field string, d *time.Duration, def time.Duration) {
		if *d < 0 {
			bad(field, fmt.Sprintf("= %v is negative", *d))
		} else if *d == 0 {
			*d = def
		}
	}
	set("Timeout", &cfg.Timeout, 30*time.Second)
	set("BackoffMin", &cfg.BackoffMin, 500*time.Millisecond)
	set("BackoffMax", &cfg.BackoffMax, max(time.Minute, cfg.BackoffMin))
	set("RetryAfterMax", &cfg.RetryAfterMax, 15*time.Minute)
	if cfg.IdleExpiry != -1 {
		set("IdleExpiry", &cfg.IdleExpiry, time.Hour)
	}
	if cfg.MaxKeys < 0 {
		bad("MaxKeys", fmt.Sprintf("= %d is negative", cfg.MaxKeys))
	} else if cfg.MaxKeys == 0 {
		cfg.MaxKeys = 10_000
	}
	if cfg.BackoffMax < cfg.BackoffMin {
		bad("BackoffMax", fmt.Sprintf("= %v is less than BackoffMin = %v", cfg.BackoffMax, cfg.BackoffMin))
	}
	return errors.Join(errs...)
}

// Credentials returns what is remembered while it is valid; see Cache for the
// rest. Besides the provider's errors it returns a *BackoffError, ErrClosed, or the
// error of ctx.
func (c *Cache) Credentials(ctx context.Context, req Request) (Credentials, error) {
	if e := c.keys.lookup(&req); e != nil {
		if cur := e.current.Load(); cur != nil {
			now := time.Now().UnixNano()
			if now < cur.refreshAt {
				e.touch(now)
				return cur.Credentials, nil
			}
			if now < cur.validUntil {
				e.touch(now)
				c.renew(ctx, req, e)
				return cur.Credentials, nil
			}
		}
	}
	return c.await(ctx, req)
}

// Signer returns the provider's Signer, if it has one; see AsSigner.
func (c *Cache) Signer() (Signer, bool) { return c.signer, c.signer != nil }

// Interactive returns the provider's Interactive, if it has one. A login that
// succeeds makes the cache forget what it knew of that identity and target.
func (c *Cache) Interactive() (Interactive, bool) { return c.login, c.login != nil }

// Observer returns the provider's Observer, if it has one; see AsObserver.
func (c *Cache) Observer() (Observer, bool) { return c.observer, c.observer != nil }

// Forget drops the credentials and the failure remembered for exactly this request.
func (c *Cache) Forget(req Request) {
	c.keys.remove(func(e *entry) bool { return sameKey(&e.key, &req) })
}

// Stats returns a snapshot.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	running := c.running
	c.mu.Unlock()
	return CacheStats{
		Keys: int(c.keys.count.Load()), Running: running,
		Refreshes: c.refreshes.Load(), Failures: c.failures.Load(), Challenges: c.challenges.Load(),
	}
}

// String names the instance and shows nothing that is remembered.
func (c *Cache) String() string {
	return fmt.Sprintf("auth cache of %s (%d keys)", c.cfg.Instance, c.keys.count.Load())
}

// Format writes String for every verb.
func (c *Cache) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String.
func (c *Cache) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Close ends the running calls by their context, waits for them and closes the
// provider. Waiting callers get ErrClosed. When ctx ends first, Close returns an
// error that says what still runs; only a provider which ignores its contexts gets
// there, and only then is its Close called beside another method. Later calls wait
// for the first and return its result.
func (c *Cache) Close(ctx context.Context) error {
	first := false
	c.closing.Do(func() { first = true })
	if !first {
		select {
		case <-c.done:
			return c.result
		case <-ctx.Done():
			return fmt.Errorf("auth: closing %s: %w", c.cfg.Instance, ctx.Err())
		}
	}
	defer close(c.done)

	c.mu.Lock()
	c.closed = true
	c.drained = make(chan struct{})
	if c.running == 0 {
		close(c.drained)
	}
	if c.sweeper != nil {
		c.sweeper.Stop()
	}
	c.mu.Unlock()
	c.cancel()
	c.keys.close()

	var errs []error
	select {
	case <-c.drained:
	case <-ctx.Done():
		c.mu.Lock()
		n := c.running
		c.mu.Unlock()
		if n > 0 {
			errs = append(errs, fmt.Errorf("auth: closing %s: %d calls still running: %w", c.cfg.Instance, n, ctx.Err()))
		}
	}
	errs = append(errs, c.closeProvider(ctx))
	c.result = errors.Join(errs...)
	return c.result
}

// closeProvider leaves a provider that ignores ctx behind, in its goroutine.
func (c *Cache) closeProvider(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() {
		err := errExited("Close")
		defer func() { closed <- err }()
		err = guard("Close", func() error { return c.provider.Close(ctx) })
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	select { // it may just be returning
	case err := <-closed:
		return err
	case <-time.After(closeGrace):
		return fmt.Errorf("auth: closing %s: its Close ignores the context: %w", c.cfg.Instance, ctx.Err())
	}
}

// closeGrace is for the error of a Close that does honour its context.
const closeGrace = 100 * time.Millisecond

// begin counts a call of the provider and reports false after Close.
func (c *Cache) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running++
	return true
}

func (c *Cache) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if c.running == 0 && c.closed {
		close(c.drained)
	}
}
