package mcpool

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// Hooks observe a pool. Every field may be nil, and a nil hook costs nothing.
type Hooks struct {
	// Core tells of sessions, as core.Hooks describes: opened (OpenEnd), closed
	// (CloseEnd), acquired (AcquireEnd) and released, probed (ProbeEnd), circuit
	// opened and closed, degraded and recovered. The Pool in its events is
	// Config.Name, for other identities followed by a slash and a label.
	Core core.Hooks
	// CallStart is told of a call before it is sent, on the goroutine of the
	// caller, and returns the context that the call and CallEnd get.
	CallStart func(ctx context.Context, e CallStart) context.Context
	// CallEnd is told how it ended, on the same goroutine.
	CallEnd func(ctx context.Context, e CallEnd)
}

// CallStart is the beginning of a call.
type CallStart struct {
	Pool     string
	Identity string // a label, not the identity
	Method   string // of MCP
	Tool     string // if it is tools/call
}

// CallEnd is the end of a call, all attempts together.
type CallEnd struct {
	CallStart

	Attempts int // how often it was sent
	Duration time.Duration
	Err      error
}

// observeCall counts a call and tells the hooks of it.
func (p *Pool) observeCall(ctx context.Context, id *identity, method, tool string) (context.Context, func(attempts int, err error)) {
	p.counts.calls.Add(1)
	h := &p.cfg.Hooks
	if h.CallStart == nil && h.CallEnd == nil {
		return ctx, p.countEnd
	}
	e := CallStart{Pool: p.cfg.Name, Identity: id.label, Method: method, Tool: tool}
	if h.CallStart != nil {
		p.guard("CallStart", func() {
			if next := h.CallStart(ctx, e); next != nil {
				ctx = next //nolint:fatcontext // once
			}
		})
	}
	began := time.Now()
	return ctx, func(attempts int, err error) {
		p.countEnd(attempts, err)
		if h.CallEnd != nil {
			end := CallEnd{CallStart: e, Attempts: attempts, Duration: time.Since(began), Err: err}
			p.guard("CallEnd", func() { h.CallEnd(ctx, end) })
		}
	}
}

func (p *Pool) countEnd(_ int, err error) {
	if err != nil {
		p.counts.callErrors.Add(1)
	}
}

// guard runs a callback of the user's, and logs a panic in it.
func (p *Pool) guard(name string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			p.cfg.Logger.Error("mcpool: callback panicked", "pool", p.cfg.Name, "callback", name, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}

// coreHooks adds the log to the user's hooks.
func (p *Pool) coreHooks() core.Hooks {
	h, user, log := p.cfg.Hooks.Core, p.cfg.Hooks.Core, p.cfg.Logger
	h.CircuitOpened = func(e core.CircuitOpened) {
		log.Warn("mcpool: circuit opened", "pool", e.Pool, "cause", e.Cause, "next", e.Next)
		if user.CircuitOpened != nil {
			user.CircuitOpened(e)
		}
	}
	h.CircuitClosed = func(e core.CircuitClosed) {
		log.Info("mcpool: circuit closed", "pool", e.Pool)
		if user.CircuitClosed != nil {
			user.CircuitClosed(e)
		}
	}
	h.Degraded = func(e core.Degraded) {
		log.Warn("mcpool: degraded", "pool", e.Pool, "cause", e.Cause)
		if user.Degraded != nil {
			user.Degraded(e)
		}
	}
	h.Recovered = func(e core.Recovered) {
		log.Info("mcpool: recovered", "pool", e.Pool)
		if user.Recovered != nil {
			user.Recovered(e)
		}
	}
	h.Leaked = func(e core.Leaked) {
		log.Warn("mcpool: session held long", "pool", e.Pool, "session", e.ID, "held", e.Held)
		if user.Leaked != nil {
			user.Leaked(e)
		}
	}
	return h
}
