package mcpool

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

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
	// Carry sets what goes to the server with each attempt of a call, as an HTTP header
	// where there is HTTP and in the call's _meta, such as a traceparent. What the
	// caller set under the same name stays. It runs on the goroutine of the caller,
	// with the context that CallStart made.
	Carry func(ctx context.Context, set func(name, value string))
}

// CallStart is the beginning of a call.
type CallStart struct {
	Pool     string
	Identity string // a label, not the identity
	Method   string // of MCP
	Tool     string // if it is tools/call
	// Listed says that the list of tools has Tool, as the server last gave it to this
	// identity or the default one. A name that is not there may be anything that a caller made up.
	Listed    bool
	Transport string // http, sse, stdio or custom
	Protocol  string // the version the endpoint speaks, empty if not known yet
}

// CallEnd is the end of a call, all attempts together.
type CallEnd struct {
	CallStart

	Attempts int // how often it was sent
	Duration time.Duration
	Err      error
	// ToolFailed says that the tool itself reported a failure, in a result with IsError.
	ToolFailed bool
}

// observedCall is a call that hooks are told of.
type observedCall struct {
	CallStart

	began time.Time
}

// observeCall counts a call and tells the hooks of it. It returns nil if nobody
// wants to hear how the call ended.
func (p *Pool) observeCall(ctx context.Context, id *identity, method, tool string) (context.Context, *observedCall) {
	p.counts.calls.Add(1)
	h := &p.cfg.Hooks
	if h.CallStart == nil && h.CallEnd == nil {
		return ctx, nil
	}
	e := CallStart{
		Pool: p.cfg.Name, Identity: id.label, Method: method, Tool: tool, Listed: tool != "" && (id.lists.hasTool(tool) || p.def.lists.hasTool(tool)),
		Transport: p.kind.String(), Protocol: p.era.known(),
	}
	if h.CallStart != nil {
		p.guard("CallStart", func() {
			if next := h.CallStart(ctx, e); next != nil {
				ctx = next //nolint:fatcontext // once
			}
		})
	}
	return ctx, &observedCall{e, time.Now()}
}

// callEnded counts how a call ended, and tells the hooks if they were told of its
// beginning.
func (p *Pool) callEnded(ctx context.Context, o *observedCall, attempts int, res any, err error) {
	if err != nil {
		p.counts.callErrors.Add(1)
	}
	if o == nil || p.cfg.Hooks.CallEnd == nil {
		return
	}
	end := CallEnd{CallStart: o.CallStart, Attempts: attempts, Duration: time.Since(o.began), Err: err}
	if r, ok := res.(*mcp.CallToolResult); ok && r != nil && err == nil {
		end.ToolFailed = r.IsError
	}
	p.guard("CallEnd", func() { p.cfg.Hooks.CallEnd(ctx, end) })
}

// guard runs a callback of the user's, and logs a panic in it.
func (p *Pool) guard(name string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			p.journal.write(slog.LevelError, "callback panicked", "", slog.String("callback", name), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		}
	}()
	f()
}

// coreHooks adds the log to the user's hooks.
func (p *Pool) coreHooks() core.Hooks {
	return core.JoinHooks(p.journal.hooks(func() bool { return p.ctx.Err() != nil }), p.cfg.Hooks.Core)
}
