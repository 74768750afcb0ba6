package mcpool

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/core"
)

// Session is a session on lease: the caller has it until Release or Discard. It
// has the methods of mcp.ClientSession but for Close and Wait; they return
// ErrReleased after the lease has ended. Calls on it are repeated only where nothing
// was sent and the session is still there. Its methods may be called from several
// goroutines at once.
type Session struct {
	// Immutable after creation.
	pool  *Pool
	conn  *conn
	opts  options
	lease *core.Lease[*conn] // nil for hooks, whose session is not on lease

	over    atomic.Bool
	tainted atomic.Bool // the server was told something that outlives the lease
	updates sessionUpdates
}

func newSession(p *Pool, s *conn, o options, l *core.Lease[*conn]) *Session {
	return &Session{pool: p, conn: s, opts: o, lease: l}
}

// Acquire leases a session for the caller alone. It waits until there is one,
// Config.AcquireTimeout has passed or ctx ends. Beyond the errors of core's
// Acquire (core.ErrExhausted, core.ErrCircuitOpen, *core.OpenError,
// *core.PinLostError) it fails with *AuthError if the endpoint refuses the identity.
//
// A session over HTTP from 2026-07-28 on is nothing that the server knows of, and
// others go on using it meanwhile.
func (p *Pool) Acquire(ctx context.Context, opts ...Option) (*Session, error) {
	if ctx == nil {
		return nil, core.ErrNilContext
	}
	o, err := p.collect(opts)
	if err != nil {
		return nil, err
	}
	own := *o
	own.exclusive = true
	id, err := p.identityFor(&own)
	if err != nil {
		return nil, err
	}
	l, s, err := p.lease(ctx, id, &own, 0)
	if err != nil {
		return nil, err
	}
	return newSession(p, s, own, &l), nil
}

// TryAcquire is Acquire without waiting: it returns false if there is no idle
// session right now, and has one opened in the background where there is room.
func (p *Pool) TryAcquire(ctx context.Context, opts ...Option) (*Session, bool) {
	o, err := p.collect(opts)
	if err != nil || ctx == nil {
		return nil, false
	}
	own := *o
	own.exclusive = true
	id, err := p.identityFor(&own)
	if err != nil {
		return nil, false
	}
	b, k := p.backend.Load(), poolKey{id, own.handlers.abilities()}
	for {
		ask := own.acquireOptions(b, k)
		ask.NoWait = true
		l, err := b.acquire(ctx, k, ask)
		if err != nil {
			return nil, false
		}
		s := l.Value()
		switch {
		case s == nil:
			return nil, false
		case s.fault() != nil || s.gone.Load():
			l.Discard(s.fault())
		default:
			return newSession(p, s, own, &l), true
		}
	}
}

// Do calls fn with a session for it alone and releases the session afterwards; if
// fn panics or calls runtime.Goexit the session is discarded, and a panic goes on.
// fn runs on the calling goroutine.
func (p *Pool) Do(ctx context.Context, fn func(ctx context.Context, s *Session) error, opts ...Option) error {
	s, err := p.Acquire(ctx, opts...)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if returned {
			s.Release()
		} else {
			s.Discard()
		}
	}()
	err = fn(ctx, s)
	returned = true
	return err
}

// Release gives the session back. Only the first Release or Discard counts.
func (s *Session) Release() {
	if s.over.Swap(true) || s.lease == nil {
		return
	}
	s.endUpdates()
	switch err := s.conn.fault(); {
	case err != nil:
		s.lease.Discard(err)
	case s.conn.gone.Load() || s.tainted.Load():
		s.lease.Discard(nil)
	default:
		s.lease.Release()
	}
}

// Discard gives the session back to be closed, because it is of no more use.
func (s *Session) Discard() {
	if !s.over.Swap(true) && s.lease != nil {
		s.endUpdates()
		s.lease.Discard(nil)
	}
}

// run makes one call on the session.
func run[R any](ctx context.Context, s *Session, r request[R]) (res R, err error) {
	switch {
	case ctx == nil:
		return res, core.ErrNilContext
	case s.over.Load():
		return res, ErrReleased
	case s.lease != nil && s.lease.Value() == nil:
		return res, ErrClosed // the pool took it back
	}
	o := &s.opts
	if s.pool.cfg.Headers != nil {
		if o, err = o.withContextHeaders(s.pool.cfg.Headers(ctx)); err != nil {
			return res, err
		}
	}
	if o.timeout != 0 && o.timeout != never {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	ctx, seen := s.pool.observeCall(ctx, s.conn.id, r.method, r.tool)
	attempts := 0
	defer func() { s.pool.callEnded(ctx, seen, attempts, res, err) }()
	if s.pool.cfg.CheckArguments && r.params != nil {
		if err = s.pool.checkArguments(ctx, s.conn.id, s, r.params); err != nil {
			return res, err
		}
	}
	w := newPatience(ctx, s.pool)
	for {
		attempts++
		res, err = once(ctx, s.conn, o, r)
		if err == nil {
			return res, nil
		}
		f := s.conn.judge(ctx, r.method, err)
		err = f.err
		if f.gone {
			session := uint64(0)
			if s.lease != nil {
				session = s.lease.ID()
			}
			s.conn.id.lost(s.conn, session, err)
		}
		if f.dated {
			s.conn.id.outdated(s.conn)
		}
		if f.gone || f.dated || f.final || f.mayRun || o.replay == ReplayNever || !w.wait(err) {
			return res, err
		}
	}
}

// ID returns the id that the server gave the session, if it did.
func (s *Session) ID() string { return s.conn.cs.ID() }

// InitializeResult returns what the server said when the session was opened. Do
// not write to it.
func (s *Session) InitializeResult() *mcp.InitializeResult { return s.conn.cs.InitializeResult() }

// CallTool calls a tool.
func (s *Session) CallTool(ctx context.Context, params *mcp.CallToolParams) (*mcp.CallToolResult, error) {
	return run(ctx, s, callTool(params))
}

// GetPrompt gets a prompt.
func (s *Session) GetPrompt(ctx context.Context, params *mcp.GetPromptParams) (*mcp.GetPromptResult, error) {
	return run(ctx, s, getPrompt(params))
}

// ReadResource reads a resource.
func (s *Session) ReadResource(ctx context.Context, params *mcp.ReadResourceParams) (*mcp.ReadResourceResult, error) {
	return run(ctx, s, readResource(params))
}

// Complete asks for completions.
func (s *Session) Complete(ctx context.Context, params *mcp.CompleteParams) (*mcp.CompleteResult, error) {
	return run(ctx, s, complete(params))
}

// ListTools asks the server for one page of its tools.
func (s *Session) ListTools(ctx context.Context, params *mcp.ListToolsParams) (*mcp.ListToolsResult, error) {
	return run(ctx, s, listTools(params))
}

// ListPrompts asks the server for one page of its prompts.
func (s *Session) ListPrompts(ctx context.Context, params *mcp.ListPromptsParams) (*mcp.ListPromptsResult, error) {
	return run(ctx, s, listPrompts(params))
}

// ListResources asks the server for one page of its resources.
func (s *Session) ListResources(ctx context.Context, params *mcp.ListResourcesParams) (*mcp.ListResourcesResult, error) {
	return run(ctx, s, listResources(params))
}

// ListResourceTemplates asks the server for one page of its templates.
func (s *Session) ListResourceTemplates(ctx context.Context, params *mcp.ListResourceTemplatesParams) (*mcp.ListResourceTemplatesResult, error) {
	return run(ctx, s, listTemplates(params))
}

// Tools goes through all tools, page by page. It ends with the first error.
func (s *Session) Tools(ctx context.Context) iter.Seq2[*mcp.Tool, error] {
	return pages(func(cursor string) ([]*mcp.Tool, string, error) {
		res, err := s.ListTools(ctx, &mcp.ListToolsParams{Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return res.Tools, res.NextCursor, nil
	})
}

// Prompts goes through all prompts, page by page. It ends with the first error.
func (s *Session) Prompts(ctx context.Context) iter.Seq2[*mcp.Prompt, error] {
	return pages(func(cursor string) ([]*mcp.Prompt, string, error) {
		res, err := s.ListPrompts(ctx, &mcp.ListPromptsParams{Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return res.Prompts, res.NextCursor, nil
	})
}

// Resources goes through all resources, page by page. It ends with the first error.
func (s *Session) Resources(ctx context.Context) iter.Seq2[*mcp.Resource, error] {
	return pages(func(cursor string) ([]*mcp.Resource, string, error) {
		res, err := s.ListResources(ctx, &mcp.ListResourcesParams{Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return res.Resources, res.NextCursor, nil
	})
}

// ResourceTemplates goes through all resource templates, page by page. It ends with
// the first error.
func (s *Session) ResourceTemplates(ctx context.Context) iter.Seq2[*mcp.ResourceTemplate, error] {
	return pages(func(cursor string) ([]*mcp.ResourceTemplate, string, error) {
		res, err := s.ListResourceTemplates(ctx, &mcp.ListResourceTemplatesParams{Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return res.ResourceTemplates, res.NextCursor, nil
	})
}

// Ping asks for a sign of life, up to protocol version 2025-11-25.
func (s *Session) Ping(ctx context.Context, params *mcp.PingParams) error {
	_, err := run(ctx, s, request[struct{}]{method: "ping", send: func(ctx context.Context, cs *mcp.ClientSession, _ string) (struct{}, error) {
		var own mcp.PingParams
		if params != nil {
			own.Meta = cloneMeta(params.Meta, "")
		}
		return struct{}{}, cs.Ping(ctx, &own)
	}})
	return err
}

// SetLoggingLevel sets which log messages the server sends on the session, which
// is not lent to anybody else afterwards.
//
//lint:ignore SA1019 deprecated, and still spoken
func (s *Session) SetLoggingLevel(ctx context.Context, params *mcp.SetLoggingLevelParams) error { //nolint:staticcheck // deprecated, and still spoken
	s.tainted.Store(true)
	_, err := run(ctx, s, request[struct{}]{method: "logging/setLevel", send: func(ctx context.Context, cs *mcp.ClientSession, _ string) (struct{}, error) {
		//lint:ignore SA1019 deprecated, and still spoken
		return struct{}{}, cs.SetLoggingLevel(ctx, params) //nolint:staticcheck // deprecated, and still spoken
	}})
	return err
}

// NotifyProgress tells the server of progress.
func (s *Session) NotifyProgress(ctx context.Context, params *mcp.ProgressNotificationParams) error {
	_, err := run(ctx, s, request[struct{}]{method: "notifications/progress", send: func(ctx context.Context, cs *mcp.ClientSession, _ string) (struct{}, error) {
		return struct{}{}, cs.NotifyProgress(ctx, params)
	}})
	return err
}

// alive asks for something that proves that the session works: a ping, which the
// server refuses if it has forgotten the session, and where there is nothing to be
// forgotten, what the server can do.
func (s *Session) alive(ctx context.Context) error {
	if !s.conn.modern() {
		return s.Ping(ctx, nil)
	}
	_, err := run(ctx, s, request[*mcp.DiscoverResult]{method: "server/discover", send: func(ctx context.Context, cs *mcp.ClientSession, _ string) (*mcp.DiscoverResult, error) {
		return mcp.CallCustomMethod[*mcp.DiscoverParams, *mcp.DiscoverResult](ctx, cs, "server/discover", &mcp.DiscoverParams{})
	}})
	return err
}

// pages goes through lists that come in pages.
func pages[T any](fetch func(cursor string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := ""; ; {
			items, next, err := fetch(cursor)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" || next == cursor {
				return
			}
			cursor = next
		}
	}
}
