package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// flight is one renewal, and those who wait for it. It runs in a goroutine of its
// own and ends by itself, not with the callers.
type flight struct {
	done chan struct{} // closed when rec and err stand
	rec  *record
	err  error
}

// flightKey tells flights apart: callers who need other scopes need another one,
// which then waits for the first at the store.
type flightKey struct {
	Key
	scopes string
}

// failure is a renewal that failed while the old token was still valid.
type failure struct {
	count   int
	retryAt time.Time
}

// fly joins the flight for what the request needs, or starts it.
func (p *Provider) fly(ctx context.Context, req auth.Request, srv *server, needed []string) (*record, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("oauth: token for %v: %w", req, err)
	}
	key := flightKey{p.key(srv, req), strings.Join(needed, " ")}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed()
	}
	f := p.flights[key]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		p.flights[key] = f
		p.running++
		go p.run(ctx, req.Clone(), srv, key, needed, f)
	}
	p.mu.Unlock()
	select {
	case <-f.done:
		return f.rec, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("oauth: waiting for a token for %v: %w", req, ctx.Err())
	}
}

func (p *Provider) run(caller context.Context, req auth.Request, srv *server, key flightKey, needed []string, f *flight) {
	f.err = errors.New("oauth: a callback ended the goroutine of a renewal")
	defer func() { // also after Goexit
		if r := recover(); r != nil {
			f.err = &auth.PanicError{Method: "Credentials", Value: r, Stack: debug.Stack()}
		}
		if f.err != nil {
			f.rec = nil
			p.report(req, f.err)
		}
		p.mu.Lock()
		delete(p.flights, key)
		p.endLocked()
		p.mu.Unlock()
		close(f.done)
	}()
	ctx, cancel := p.detach(caller)
	defer cancel()
	f.rec, f.err = p.renew(ctx, req, srv, key.Key, needed)
}

// detach returns a context with the caller's values, and the provider's end and
// time-out.
func (p *Provider) detach(caller context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), p.cfg.Timeout)
	stop := context.AfterFunc(p.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (p *Provider) report(req auth.Request, err error) {
	if p.cfg.OnFailure == nil {
		return
	}
	defer func() { _ = recover() }() // documented
	p.cfg.OnFailure(req, err)
}

// firstRetry and lastRetry bound how long a failed renewal is not repeated while the
// old token still serves.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute

	maxFailures = 1024 // remembered before a look for old ones is worthwhile
)

// postpone notes that a renewal failed, and returns when the next is due.
func (p *Provider) postpone(key Key, err error, expires time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.failures[key]
	f.count++
	delay := min(firstRetry<<min(f.count-1, 10), lastRetry)
	if t, ok := errors.AsType[*auth.ThrottledError](err); ok {
		delay = max(delay, t.RetryAfter)
	}
	now := time.Now()
	if left := expires.Sub(now); !expires.IsZero() && delay > left/2 {
		delay = max(left/2, 10*time.Millisecond) // the last chance must not be missed
	}
	f.retryAt = now.Add(delay)
	if len(p.failures) >= maxFailures { // most are of identities that are never heard of again
		maps.DeleteFunc(p.failures, func(_ Key, f failure) bool { return now.After(f.retryAt) })
	}
	p.failures[key] = f
	return f.retryAt
}

// postponed returns when a renewal that failed may be tried again; zero if at once.
func (p *Provider) postponed(key Key, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.failures[key]; ok && now.Before(f.retryAt) {
		return f.retryAt
	}
	return time.Time{}
}

// succeeded forgets failures.
func (p *Provider) succeeded(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.failures, key)
}
