package core

import (
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// grace is what a callback gets to notice that its context has ended, before it
// is abandoned.
const grace = 100 * time.Millisecond

const (
	callRunning int32 = iota
	callDone
	callAbandoned
)

// call runs f on a goroutine of its own and waits for it until ctx has ended and
// grace has passed. Then it is abandoned: it counts in *strays until it comes
// back, and late, unless nil, gets what it returns without an error. A panic or
// Goexit in f is its failure. f may change *name when it goes on to another
// callback; nobody else looks at it then.
func call[R any, T Resource](ctx context.Context, p *Pool[T], name *string, timeout time.Duration, strays *int,
	f func(context.Context) (R, error), late func(R),
) (R, error) {
	type result struct {
		value R
		err   error
	}
	var state atomic.Int32
	done := make(chan result, 1)
	first := *name
	go func() {
		var r result
		returned := false
		defer func() {
			if !returned {
				e := &PanicError{Callback: *name, Goexit: true}
				if v := recover(); v != nil {
					e = newPanic(*name, v)
				}
				r.err = e
				p.panicked(e)
			}
			if state.CompareAndSwap(callRunning, callDone) {
				done <- r
				return
			}
			if late != nil && r.err == nil {
				late(r.value)
			}
			p.hub.lock()
			*strays--
			p.hub.strays--
			p.tally.abandoned.Add(-1)
			p.hub.demandLocked(p)
			p.hub.unlock()
		}()
		value, err := f(ctx)
		r, returned = result{value, err}, true
	}()

	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
	}
	p.hub.lock()
	abandoned := state.CompareAndSwap(callRunning, callAbandoned)
	if abandoned {
		*strays++
		p.hub.strays++
		p.tally.abandoned.Add(1)
	}
	p.hub.unlock()
	if !abandoned {
		r := <-done
		return r.value, r.err
	}
	var none R
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return none, err
	}
	return none, &TimeoutError{Callback: first, After: timeout}
}

// run is call for callbacks that return nothing but an error, and end early when
// the pool closes.
func (p *Pool[T]) run(name string, timeout time.Duration, f func(context.Context) error) error {
	return p.runUnder(p.ctx, name, timeout, &p.strayOthers, f)
}

func (p *Pool[T]) runUnder(ctx context.Context, name string, timeout time.Duration, strays *int, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := call(ctx, p, &name, timeout, strays, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, f(ctx)
	}, nil)
	return err
}

// ask runs a predicate on an error; without one, or if it panics or hangs, the
// answer is no.
func (p *Pool[T]) ask(name string, f func(error) bool, err error) bool {
	if f == nil {
		return false
	}
	var yes bool
	failed := p.run(name, p.cfg.CloseTimeout, func(context.Context) error {
		yes = f(err)
		return nil
	})
	return failed == nil && yes
}

func newPanic(name string, v any) *PanicError {
	return &PanicError{Callback: name, Value: v, Stack: debug.Stack()}
}

// panicked counts a recovered panic and reports it.
func (p *Pool[T]) panicked(e *PanicError) {
	p.tally.panics.Add(1)
	p.hub.late.panics.Add(1)
	hook := p.cfg.Hooks.Panicked
	if hook == nil || e.Callback == "Panicked" {
		return
	}
	p.hub.lock()
	p.emitLocked("Panicked", func() { hook(Panicked{Pool: p.cfg.Name, Err: e}) })
	p.hub.unlock()
}

// sleep waits for d, and reports false if the pool closes before.
func (p *Pool[T]) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// event is a hook call that waits for its turn.
type event[T Resource] struct {
	pool *Pool[T]
	name string
	call func()
}

// maxEvents bounds the hook calls that wait behind one that hangs.
const maxEvents = 1024

// emitLocked has a hook called after all that were emitted before. Past maxEvents
// the oldest is dropped and counted. REQUIRES: the lock.
func (p *Pool[T]) emitLocked(name string, f func()) {
	h := p.hub
	if h.gone {
		return
	}
	if len(h.events) >= maxEvents {
		h.events = h.events[1:]
		p.tally.dropped.Add(1)
		p.hub.late.dropped.Add(1)
	}
	h.events = append(h.events, event[T]{p, name, f})
	if !h.emitting {
		h.emitting = true
		go h.emit()
	}
}

// emit calls hooks until none is left. When the pool is closing it does not wait
// for more than one that hangs.
func (h *hub[T]) emit() {
	for {
		h.lock()
		if len(h.events) == 0 {
			h.events, h.emitting = nil, false
			if h.quiet != nil {
				close(h.quiet)
				h.quiet = nil
			}
			h.unlock()
			return
		}
		e := h.events[0]
		h.events = h.events[1:]
		h.unlock()
		err := e.pool.runUnder(context.Background(), e.name, e.pool.cfg.CloseTimeout, &e.pool.strayOthers,
			func(context.Context) error { e.call(); return nil })
		if _, hung := err.(*TimeoutError); hung { //nolint:errorlint // its own, not one a hook panicked with
			h.lock()
			if h.closed {
				h.events = nil
			}
			h.unlock()
		}
	}
}
