package auth

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// entry is what a Cache knows of one combination of identity, target and scopes.
type entry struct {
	key     Request              // immutable after creation
	current atomic.Pointer[held] // nil while there are no credentials; written under mu
	used    atomic.Int64         // Unix nanoseconds of the last lookup, exact to a second

	mu         sync.Mutex
	calling    bool      // a Credentials call runs; it may have outlived its flight
	flight     *flight   // what callers without credentials wait for; nil if nothing
	failed     failure   // of Credentials, in a row
	superseded [4]string // generations that were replaced or refused, newest first
	trials     []*trial  // Challenge calls that run
	verdict    *trial    // the last Challenge that did not end in Retry
	verdicts   failure   // of Challenge, in a row: until when verdict stands
	strikes    int       // refreshes forced by challenges, in quick succession
	struck     time.Time // the last of them
	introduced bool      // credentials without headers were refused, which was no strike
}

// held are credentials in use. It is immutable.
type held struct {
	Credentials
	obtained              time.Time
	refreshAt, validUntil int64 // Unix nanoseconds, by the wall clock like Expires
}

// failure counts failed attempts in a row. Its times are monotonic: a wall clock
// that is set back prolongs nothing.
type failure struct {
	count   int
	retryAt time.Time
	err     error
}

// touch records a use, at most once a second, so that a hot entry's cache line is
// read and not written.
func (e *entry) touch(now int64) {
	if used := e.used.Load(); now-used > int64(time.Second) {
		e.used.Store(now)
	}
}

func (e *entry) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calling || len(e.trials) > 0
}

// valid returns the credentials in use, nil if there are none that are valid.
func (e *entry) valid(now time.Time) *held {
	if cur := e.current.Load(); cur != nil && now.UnixNano() < cur.validUntil {
		return cur
	}
	return nil
}

// installLocked puts new credentials in use.
//
// REQUIRES: e.mu
func (e *entry) installLocked(h *held) {
	if cur := e.current.Load(); cur != nil && cur.Generation != h.Generation {
		e.supersedeLocked(cur.Generation)
	}
	for i, g := range e.superseded {
		if g == h.Generation { // a provider may come back to what was refused
			e.superseded[i] = ""
		}
	}
	e.current.Store(h)
	e.failed = failure{}
}

// supersedeLocked remembers that a generation is not worth a refresh any more.
//
// REQUIRES: e.mu
func (e *entry) supersedeLocked(generation string) {
	copy(e.superseded[1:], e.superseded[:len(e.superseded)-1])
	e.superseded[0] = generation
}

// Refresh early enough that a slow source is no problem, and at times of their own
// so that identities which logged in together do not come back together.
const (
	refreshFraction = 0.70 // of the lifetime, when the provider does not say
	jitterFraction  = 0.10 // of the lifetime, or of what is left of it at RefreshAfter
	expiryMargin    = 10 * time.Second
)

// hold decides when credentials obtained now are renewed and when they are gone.
// It draws the jitter, once.
func hold(c Credentials, now time.Time, floor time.Duration) *held {
	h := &held{Credentials: c, obtained: now, refreshAt: math.MaxInt64, validUntil: math.MaxInt64}
	// Without the monotonic reading, which stands still while a machine sleeps.
	wall := now.UnixNano()
	if !c.Expires.IsZero() {
		lifetime := saturatingSub(c.Expires, now)
		margin := min(lifetime/10, int64(expiryMargin))
		h.validUntil = wall + lifetime - margin
		h.refreshAt = wall + int64(float64(lifetime)*(refreshFraction+jitterFraction*rand.Float64()))
		floor = min(floor, time.Duration(lifetime/2))
	}
	if !c.RefreshAfter.IsZero() {
		wait := saturatingSub(c.RefreshAfter, now)
		spread := wait
		if !c.Expires.IsZero() {
			spread = h.validUntil - wall - wait
		}
		// A RefreshAfter in the past must not make every use a refresh.
		wait = max(wait, int64(floor))
		h.refreshAt = wall + wait + int64(max(0, float64(spread))*jitterFraction*rand.Float64())
	}
	h.refreshAt = min(h.refreshAt, h.validUntil)
	return h
}

// saturatingSub is t − now by the wall clock, between none and a century.
func saturatingSub(t, now time.Time) int64 {
	const century = int64(100 * 365 * 24 * time.Hour)
	d := t.Round(0).Sub(now.Round(0)) // Sub saturates
	return min(max(int64(d), 0), century)
}

// backoff returns how long the n-th failure in a row is remembered.
func (cfg *CacheConfig) backoff(n int, throttled time.Duration) time.Duration {
	d := cfg.BackoffMax
	if shift := n - 1; shift < 30 && cfg.BackoffMin<<shift > 0 {
		d = min(d, cfg.BackoffMin<<shift)
	}
	d = time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
	return max(d, min(throttled, cfg.RetryAfterMax))
}

// canonical returns a copy of h under canonical names.
func canonical(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		for _, v := range values {
			out.Add(name, v)
		}
	}
	return out
}
