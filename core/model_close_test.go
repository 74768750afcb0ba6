package core

import (
	"context"
	"errors"
	"testing/synctest"
	"time"
)

// finish closes the pool with whatever is under way, and looks at 6.
func (m *model) finish() {
	m.t.Helper()
	patience := time.Duration(m.rng.Int64N(int64(2 * time.Second)))
	if m.rng.IntN(2) == 0 {
		time.Sleep(time.Duration(m.rng.Int64N(int64(time.Second)))) // let things be in the middle
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	m.mu.Lock()
	m.ended = true
	kept := len(m.held)
	m.mu.Unlock()
	m.v.lapse.Store(began.Add(patience).UnixNano())
	m.note("close within %v", patience)
	errs := make(chan error, 2)
	for range cap(errs) {
		go func() { errs <- m.p.Close(ctx) }()
	}
	synctest.Wait()
	m.mu.Lock()
	for c := range m.callers {
		m.bad("invariant 6: %+v still waits on a closed pool", c.o)
	}
	m.mu.Unlock()
	for range cap(errs) {
		m.closed(<-errs, kept)
	}
	if took := time.Since(began) - patience; took > 4*time.Second {
		m.bad("invariant 6: Close took %v beyond its context", took)
	}
	synctest.Wait()
	m.refusesAll()
	time.Sleep(time.Minute) // abandoned callbacks come back, and functions given to Do end
	synctest.Wait()
	for _, h := range m.held {
		if h.lease.Value() != nil {
			m.bad("invariant 6: a lease survived Close")
		}
		h.lease.Release() // stale, and nothing but counted
	}
	s := m.p.Stats()
	if s.Live+s.Opening+s.Closing+s.Leased+s.Waiting+s.Idle+s.Abandoned != 0 {
		m.bad("invariant 6: something is left after Close: %+v", s)
	}
	if n := m.p.hub.ledger.Stat().TotalResources(); n != 0 {
		m.bad("invariant 6: puddle still has %d resources after Close", n)
	}
	m.v.allClosed(m.t)
	m.report()
}

// closed checks what Close returned.
func (m *model) closed(err error, kept int) {
	m.t.Helper()
	var e *CloseError
	switch {
	case err == nil && kept == 0:
	case errors.As(err, &e):
		// Functions given to Do hold leases too, and may or may not end in time.
		if e.Revoked < kept || kept == 0 && e.Revoked > 0 && e.Cause == nil {
			m.bad("invariant 6: Close took back %d leases, %d were held: %v", e.Revoked, kept, err)
		}
	default:
		m.bad("invariant 6: with %d leases held Close returned %v", kept, err)
	}
}

// refusesAll makes every call on the closed pool.
func (m *model) refusesAll() {
	m.t.Helper()
	ctx := context.Background()
	_, err := m.p.Acquire(ctx)
	errs := []error{err, m.p.Resize(ctx, 0, 1), m.p.WaitReady(ctx)}
	errs = append(errs, m.p.Do(ctx, func(context.Context, *asset) error { return nil }))
	for _, o := range []AcquireOptions{{Exclusive: true}, {Key: "a", Affinity: PinOrRebind}, {NoWait: true}} {
		_, err := m.p.AcquireWith(ctx, o)
		errs = append(errs, err)
	}
	for i, err := range errs {
		if !errors.Is(err, ErrClosed) {
			m.bad("call %d on a closed pool returned %v", i, err)
		}
	}
	m.p.Evict()
}
