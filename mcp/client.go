package mcpool

import (
	"context"
	"errors"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// clients are those of the SDK that the pool's sessions have in common, one for each
// ability: a client takes about as much memory as an idle session. It knows nothing of
// identities; the session that its handlers find does.
type clients struct {
	mu    sync.Mutex
	byAsk [canElicit | canSample + 1]*mcp.Client // guarded by mu
}

// clientFor returns the client to open a session with. A session that is there to
// hear the server has one of its own, because what the SDK opens streams for belongs
// to the client.
func (p *Pool) clientFor(s *conn) *mcp.Client {
	if s.hears != nil {
		return p.newClient(s.ability, s)
	}
	c := &p.clients
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byAsk[s.ability] == nil {
		c.byAsk[s.ability] = p.newClient(s.ability, nil)
	}
	return c.byAsk[s.ability]
}

// newClient returns a client, for the session alone if that is not nil. Its handlers
// find the session through the context, which is that of a call or comes from that
// of Connect. The call that is meant they find in the same way (progress by its
// token), or, on old-era sessions, because nobody else's call is on the session.
func (p *Pool) newClient(a ability, alone *conn) *mcp.Client {
	o := &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{},
		ProgressNotificationHandler: func(ctx context.Context, r *mcp.ProgressNotificationClientRequest) {
			if s := connOf(ctx); s != nil {
				s.progress(r.Params)
			}
		},
	}
	if a&canElicit != 0 {
		o.ElicitationHandler = func(ctx context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			if c := asked(ctx); c != nil && c.handlers.elicit != nil {
				return c.handlers.elicit(ctx, r)
			}
			return nil, errNobodyAsked
		}
	}
	if a&canSample != 0 {
		//lint:ignore SA1019 deprecated, and still spoken
		o.CreateMessageHandler = func(ctx context.Context, r *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) { //nolint:staticcheck // deprecated, and still spoken
			if c := asked(ctx); c != nil && c.handlers.sample != nil {
				return c.handlers.sample(ctx, r)
			}
			return nil, errNobodyAsked
		}
	}
	var h *hearing
	if alone != nil {
		h = alone.hears
	}
	// But for Streamable HTTP the stream that lists are heard of on is there anyway.
	if h != nil && h.notices != nil || p.kind != kindHTTP && !p.cfg.NoListener {
		on := func(ctx context.Context, changed func(*notices)) {
			if s := connOf(ctx); s != nil {
				changed(&s.id.notices)
			}
		}
		o.ToolListChangedHandler = func(ctx context.Context, _ *mcp.ToolListChangedRequest) {
			on(ctx, func(n *notices) { n.tools() })
		}
		o.PromptListChangedHandler = func(ctx context.Context, _ *mcp.PromptListChangedRequest) {
			on(ctx, func(n *notices) { n.prompts() })
		}
		o.ResourceListChangedHandler = func(ctx context.Context, _ *mcp.ResourceListChangedRequest) {
			on(ctx, func(n *notices) { n.resources() })
		}
	}
	if h != nil {
		o.ResourceUpdatedHandler = func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) {
			if r.Params != nil {
				h.updated(ResourceUpdate{URI: r.Params.URI})
			}
		}
	}
	client := mcp.NewClient(p.cfg.ClientInfo, o)
	if h != nil {
		alone.hear(client, h)
	}
	budget := p.cfg.ConnectTimeout / 2
	client.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			switch {
			case method == "tools/list" && callOf(ctx) == nil:
				return onlyMarked(next(ctx, method, req)) // no call asks: the session is being primed
			case method != "server/discover" || callOf(ctx) != nil:
				if p.cfg.Hooks.Carry != nil {
					carryMeta(ctx, req)
				}
				return next(ctx, method, req)
			}
			// A server that does not answer this must not use up the whole time.
			ctx, cancel := context.WithTimeout(ctx, budget)
			defer cancel()
			res, err := next(ctx, method, req)
			if s := connOf(ctx); s != nil {
				s.discovery.Store(&err)
			}
			return res, err
		}
	})
	return client
}

var errNobodyAsked = errors.New("no call on this session takes questions")

// asked returns the call that a server's request belongs to. Where the context
// does not say, one caller has the session alone, and all its calls that are not
// over have the same handlers.
func asked(ctx context.Context) *call {
	if c := callOf(ctx); c != nil {
		return c
	}
	s := connOf(ctx)
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := s.calls; c != nil; c = c.next {
		if !c.over.Load() && c.handlers.abilities() != 0 {
			return c
		}
	}
	return nil
}

// progress finds the call of a progress notification by its token, which is
// unique among all calls.
func (s *conn) progress(params *mcp.ProgressNotificationParams) {
	token, _ := params.ProgressToken.(string)
	if token == "" {
		return
	}
	var found *call
	s.mu.Lock()
	for c := s.calls; c != nil; c = c.next {
		if c.token == token {
			found = c
			break
		}
	}
	s.mu.Unlock()
	if found != nil {
		found.progress(params)
	}
}
