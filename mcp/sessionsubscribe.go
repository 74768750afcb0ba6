package mcpool

import (
	"context"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// sessionUpdates are the resources that the holder of a session subscribed to. Its
// lock is not held while the server is asked: the answer could wait behind an
// update that waits for the lock.
type sessionUpdates struct {
	mu     sync.Mutex
	ctx    context.Context // guarded by mu; for the function; nil before the first subscription
	cancel context.CancelFunc
	// Guarded by mu. Nil is for a subscription of the session's own, or one that is
	// being made; others are the pool's.
	by map[string]*Subscription
}

// Subscribe asks the server to tell of changes of a resource, for as long as the
// session is on lease. The function to tell is that of WithResourceUpdates, which
// Acquire must have been given. The session is not lent to anybody else afterwards,
// unless it is nothing that the server knows of: then this is Pool.Subscribe until
// Unsubscribe or Release.
func (s *Session) Subscribe(ctx context.Context, params *mcp.SubscribeParams) error {
	if params == nil || params.URI == "" {
		return &OptionError{Option: "Subscribe", Problem: "needs the URI of a resource"}
	}
	if s.opts.handlers.update == nil || s.lease == nil {
		return &OptionError{Option: "Subscribe", Problem: "has nobody to tell: acquire the session WithResourceUpdates"}
	}
	uri := params.URI
	if known, err := s.reserve(uri); known || err != nil {
		return err
	}
	var sub *Subscription
	var err error
	if s.conn.sharedByNature() {
		sub, err = s.pool.Subscribe(ctx, uri, s.tell, func(o *options) { o.identity = s.opts.identity; o.header = s.opts.header })
	} else {
		err = s.subscribeHere(ctx, uri)
	}
	s.updates.mu.Lock()
	defer s.updates.mu.Unlock()
	switch {
	case err != nil:
		delete(s.updates.by, uri)
	case s.over.Load():
		err = ErrReleased
		if sub != nil {
			sub.Close()
		}
	default:
		s.updates.by[uri] = sub
	}
	return err
}

// reserve notes that a resource is being subscribed to, or tells that it is known.
func (s *Session) reserve(uri string) (known bool, err error) {
	u := &s.updates
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.over.Load() {
		return false, ErrReleased
	}
	if u.by == nil {
		u.by = make(map[string]*Subscription)
		u.ctx, u.cancel = context.WithCancel(s.pool.ctx)
	}
	if _, known = u.by[uri]; !known {
		u.by[uri] = nil
	}
	return known, nil
}

func (s *Session) subscribeHere(ctx context.Context, uri string) error {
	if !s.conn.offersUpdates() {
		return ErrNotOffered
	}
	s.tainted.Store(true)
	tell := func(u ResourceUpdate) { s.told(u) }
	s.conn.hears.update.Store(&tell)
	_, err := run(ctx, s, request[struct{}]{method: "resources/subscribe", send: func(ctx context.Context, _ *mcp.ClientSession, _ string) (struct{}, error) {
		return struct{}{}, s.conn.subscribe(ctx, s.conn.hears, uri)
	}})
	return err
}

// told hands on what the session heard. What was missed concerns everything.
func (s *Session) told(u ResourceUpdate) {
	list := []ResourceUpdate{u}
	s.updates.mu.Lock()
	ctx := s.updates.ctx
	if u.Missed {
		list = list[:0]
		for uri := range s.updates.by {
			list = append(list, ResourceUpdate{URI: uri, Missed: true})
		}
	}
	s.updates.mu.Unlock()
	for _, u := range list {
		s.pool.guard("WithResourceUpdates", func() { s.tell(ctx, u) })
	}
}

// tell tells the holder, as long as it is one.
func (s *Session) tell(ctx context.Context, u ResourceUpdate) {
	if !s.over.Load() {
		s.opts.handlers.update(ctx, u)
	}
}

// Unsubscribe undoes Subscribe. Of a resource that is not subscribed to it does
// nothing.
func (s *Session) Unsubscribe(ctx context.Context, params *mcp.UnsubscribeParams) error {
	if params == nil || params.URI == "" {
		return &OptionError{Option: "Unsubscribe", Problem: "needs the URI of a resource"}
	}
	if s.over.Load() {
		return ErrReleased
	}
	s.updates.mu.Lock()
	sub, known := s.updates.by[params.URI]
	delete(s.updates.by, params.URI)
	s.updates.mu.Unlock()
	switch {
	case !known:
		return nil
	case sub != nil:
		sub.Close()
		return nil
	}
	_, err := run(ctx, s, request[struct{}]{method: "resources/unsubscribe", send: func(ctx context.Context, _ *mcp.ClientSession, _ string) (struct{}, error) {
		return struct{}{}, s.conn.unsubscribe(ctx, s.conn.hears, params.URI)
	}})
	return err
}

// endUpdates tells the holder nothing more. The lease is over by now.
func (s *Session) endUpdates() {
	s.updates.mu.Lock()
	defer s.updates.mu.Unlock()
	if s.updates.by == nil {
		return
	}
	s.updates.cancel()
	for _, sub := range s.updates.by {
		if sub != nil {
			sub.Close()
		}
	}
	s.updates.by = nil
}
