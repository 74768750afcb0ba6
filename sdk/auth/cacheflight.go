package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

// flight is one Credentials call and those who wait for it.
type flight struct {
	done  chan struct{} // closed when creds and err stand
	once  sync.Once
	creds Credentials
	err   error
}

func (f *flight) land(creds Credentials, err error) {
	f.once.Do(func() {
		f.creds, f.err = creds, err
		close(f.done)
	})
}

// await returns valid credentials, those that a call under way will bring, or the
// remembered failure.
func (c *Cache) await(ctx context.Context, req Request) (Credentials, error) {
	if err := ctx.Err(); err != nil {
		return Credentials{}, fmt.Errorf("auth: credentials for %v: %w", req, err)
	}
	e, err := c.entry(&req)
	if err != nil {
		return Credentials{}, err
	}
	f, cur, err := c.join(ctx, req, e)
	switch {
	case err != nil:
		return Credentials{}, err
	case cur != nil:
		return cur.Credentials, nil
	}
	select {
	case <-f.done:
		return f.creds, f.err
	case <-ctx.Done():
		return Credentials{}, fmt.Errorf("auth: waiting for credentials for %v: %w", req, ctx.Err())
	}
}

// entry finds or makes the entry, and makes room for it.
func (c *Cache) entry(req *Request) (*entry, error) {
	now := time.Now()
	e, added := c.keys.lookupOrAdd(req, now.UnixNano())
	if e == nil {
		return nil, c.closedError()
	}
	e.touch(now.UnixNano())
	if added {
		c.keys.evict(c.cfg.MaxKeys, e)
		c.scheduleSweep()
	}
	return e, nil
}

// join returns the flight to wait for, starting one if need be and allowed, or the
// credentials that turned up meanwhile.
func (c *Cache) join(ctx context.Context, req Request, e *entry) (*flight, *held, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if cur := e.valid(now); cur != nil {
		return nil, cur, nil
	}
	if e.flight != nil {
		return e.flight, nil, nil
	}
	// calling without a flight: the call has outlived its timeout. Another one
	// beside it would be the second of ever so many, so the failure stands.
	if e.calling || now.Before(e.failed.retryAt) {
		return nil, nil, &BackoffError{RetryAt: e.failed.retryAt, Failures: e.failed.count, Err: e.failed.err}
	}
	f, err := c.launchLocked(ctx, req, e, false)
	return f, nil, err
}

// renew starts a background refresh unless one runs, or the last one failed just
// now. It never waits: who holds mu is about to do the same.
func (c *Cache) renew(ctx context.Context, req Request, e *entry) {
	if !e.mu.TryLock() {
		return
	}
	defer e.mu.Unlock()
	now := time.Now()
	cur := e.current.Load()
	if e.calling || now.Before(e.failed.retryAt) || cur == nil || now.UnixNano() < cur.refreshAt {
		return
	}
	_, _ = c.launchLocked(ctx, req, e, true) // closed: nobody waits for it
}

// launchLocked starts a Credentials call in a goroutine of its own, for a copy of
// the request: the caller may be gone before it ends.
//
// REQUIRES: e.mu
func (c *Cache) launchLocked(ctx context.Context, req Request, e *entry, background bool) (*flight, error) {
	if !c.begin() {
		return nil, c.closedError()
	}
	f := &flight{done: make(chan struct{})}
	e.calling, e.flight = true, f
	req = req.Clone()
	go c.fly(ctx, req, e, f, background)
	return f, nil
}

func (c *Cache) fly(caller context.Context, req Request, e *entry, f *flight, background bool) {
	defer c.end()
	began := time.Now()
	creds, err := Credentials{}, errExited("Credentials")
	defer func() { // also when the provider ends its goroutine with Goexit
		creds, err = c.settle(e, f, creds, err)
		if c.cfg.OnRefresh != nil {
			_ = guard("OnRefresh", func() error {
				c.cfg.OnRefresh(Refresh{Request: req, Background: background, Took: time.Since(began), Err: err})
				return nil
			})
		}
	}()
	c.bounded(caller, func(ctx context.Context) {
		err = guard("Credentials", func() (err error) {
			creds, err = c.provider.Credentials(ctx, req)
			return err
		})
	}, func(cause error) { c.abandon(e, f, cause) })
}

// settle makes the result of a call that of its entry and lands the flight.
func (c *Cache) settle(e *entry, f *flight, creds Credentials, err error) (Credentials, error) {
	now := time.Now()
	switch {
	case err != nil:
	case creds.Expired(now):
		err = fmt.Errorf("auth: %s returned credentials that expired at %s: is a clock wrong?",
			c.cfg.Instance, creds.Expires.UTC().Format(time.RFC3339))
	default:
		err = CheckHeader(creds.Header)
	}
	c.refreshes.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calling = false
	if err != nil {
		c.failures.Add(1)
		creds = Credentials{}
		if e.flight == f { // else abandon has counted it
			e.failed.count++
		}
		c.rememberLocked(e, err, now)
	} else {
		creds.Header = canonical(creds.Header)
		if creds.Generation == "" {
			creds.Generation = c.own + strconv.FormatUint(c.generation.Add(1), 10)
		}
		e.installLocked(hold(creds, now, c.cfg.BackoffMin))
	}
	if e.flight == f {
		e.flight = nil
	}
	f.land(creds, err)
	return creds, err
}

// abandon lets the waiters go when the call has had its time; the call itself may
// still end, and settle then takes what it brings.
func (c *Cache) abandon(e *entry, f *flight, cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flight != f {
		return
	}
	e.flight = nil
	e.failed.count++
	c.rememberLocked(e, cause, time.Now())
	f.land(Credentials{}, cause)
}

// rememberLocked notes a failure and when to try again.
//
// REQUIRES: e.mu
func (c *Cache) rememberLocked(e *entry, err error, now time.Time) {
	var throttled time.Duration
	if t, ok := errors.AsType[*ThrottledError](err); ok {
		throttled = t.RetryAfter
	}
	e.failed.err = err
	e.failed.retryAt = now.Add(c.cfg.backoff(e.failed.count, throttled))
}

// bounded runs call with a context that has the caller's values, the cache's
// timeout and its end. When that context ends first, expired is told why, while
// call may still be running. Neither runs any more when bounded returns.
func (c *Cache) bounded(caller context.Context, call func(context.Context), expired func(error)) {
	ctx, cancel := context.WithTimeout(detached{c.ctx, context.WithoutCancel(caller)}, c.cfg.Timeout)
	defer cancel()
	gone := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(gone)
		if c.ctx.Err() != nil {
			expired(c.closedError())
			return
		}
		expired(fmt.Errorf("auth: %s did not answer within %v: %w", c.cfg.Instance, c.cfg.Timeout, ctx.Err()))
	})
	defer func() {
		if !stop() {
			<-gone
		}
	}()
	call(ctx)
}

// detached ends with the cache and has the values of a caller. The cache's context
// is asked first for values: it has none but its own cancellation, which lets
// context.WithTimeout hang on to it without a goroutine.
type detached struct {
	context.Context
	values context.Context
}

func (d detached) Value(key any) any {
	if v := d.Context.Value(key); v != nil {
		return v
	}
	return d.values.Value(key)
}

// guard turns a panic into an error.
func guard(method string, call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Method: method, Value: r, Stack: debug.Stack()}
		}
	}()
	return call()
}

func errExited(method string) error {
	return fmt.Errorf("auth: provider ended its goroutine in %s", method)
}

func (c *Cache) closedError() error { return fmt.Errorf("auth: %s: %w", c.cfg.Instance, ErrClosed) }

// providersGeneration is a generation as the provider knows it.
func (c *Cache) providersGeneration(g string) string {
	if strings.HasPrefix(g, c.own) {
		return ""
	}
	return g
}
