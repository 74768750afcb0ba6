package mcpool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// ErrNotOffered reports something that the server says it does not have.
var ErrNotOffered = errors.New("mcpool: the server does not offer this")

// ResourceUpdate says that a resource changed.
type ResourceUpdate struct {
	// URI is the resource as the server named it: the one subscribed to, or one
	// below it.
	URI string
	// Missed says that nobody told: for a while nothing could be heard, and the
	// resource may have changed. URI is then the one subscribed to.
	Missed bool
}

// UpdateFunc is told that a resource changed. Of one subscription it runs one at a
// time, on a goroutine of its own, and may block and call the pool; updates that
// come meanwhile are told once for each resource. ctx ends with the subscription and
// with the pool. A panic in it is logged.
type UpdateFunc func(ctx context.Context, u ResourceUpdate)

// Subscription is the wish to hear when a resource changes. It lasts until Close,
// whatever becomes of sessions and servers.
type Subscription struct {
	// Immutable after creation.
	owner  *subscriber
	uri    string
	fn     UpdateFunc
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // holds one
	result chan error    // holds one: what became of the first attempt

	answered bool // guarded by owner.mu; result was given
	accepted bool // guarded by owner.mu; the server has said yes once

	mu      sync.Mutex
	pending []ResourceUpdate // guarded by mu; each resource once
}

// Subscribe has fn told when the resource changes. It returns when the server has
// accepted: what changes from then on is told. It waits until ctx ends, or
// Config.AcquireTimeout has passed; the subscription itself lasts until it is closed.
// Of the options only those that choose an identity count.
//
// When the connection is lost the pool subscribes again, and tells every
// subscription that it may have missed something. Updates come on one more session of
// the identity, which is opened with the first subscription, closed with the last,
// and counts towards no limit. Over stdio that is another process, which knows
// only of its own changes: there, and for state of one session, use
// Session.Subscribe.
//
// It fails with an error that is ErrNotOffered if the server has no
// subscriptions, with the server's own if it refuses, and with those of Acquire.
func (p *Pool) Subscribe(ctx context.Context, uri string, fn UpdateFunc, opts ...Option) (*Subscription, error) {
	switch {
	case ctx == nil:
		return nil, core.ErrNilContext
	case uri == "":
		return nil, &OptionError{Option: "Subscribe", Problem: "needs the URI of a resource"}
	case fn == nil:
		return nil, &OptionError{Option: "Subscribe", Problem: "needs a function to tell"}
	}
	id, err := p.listsOf(opts)
	if err != nil {
		return nil, err
	}
	return id.updates.subscribe(ctx, uri, fn)
}

// URI returns what was subscribed to.
func (s *Subscription) URI() string { return s.uri }

// Close ends the subscription. It does not wait: the function may still be running,
// but is not called again. The server is told in the background.
func (s *Subscription) Close() {
	s.cancel()
	s.owner.remove(s)
}

// push notes an update, to be told when the function has time.
func (s *Subscription) push(u ResourceUpdate) {
	s.mu.Lock()
	switch {
	case u.Missed || len(s.pending) >= maxPending:
		// It covers whatever is pending. So does one in place of very many.
		s.pending = append(s.pending[:0], ResourceUpdate{URI: s.uri, Missed: true})
	default:
		for _, p := range s.pending {
			if p.URI == u.URI {
				s.mu.Unlock()
				return
			}
		}
		s.pending = append(s.pending, u)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// maxPending is how many resources below one subscription are told one by one.
const maxPending = 100

func (s *Subscription) next() (u ResourceUpdate, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || len(s.pending) == 0 {
		return u, false
	}
	u, s.pending = s.pending[0], s.pending[1:]
	return u, true
}

// deliver tells the function, one update after the other.
func (s *Subscription) deliver() {
	for {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		for u, ok := s.next(); ok; u, ok = s.next() {
			s.owner.id.pool.guard("Subscribe", func() { s.fn(s.ctx, u) })
		}
	}
}

// covers tells whether an update of a resource is one for a subscription to uri:
// servers may name a resource below it.
func covers(uri, updated string) bool {
	rest, ok := strings.CutPrefix(updated, uri)
	return ok && (rest == "" || strings.HasSuffix(uri, "/") || strings.ContainsAny(rest[:1], "/?#"))
}

// subscriber holds the subscriptions of an identity.
type subscriber struct {
	id *identity // immutable after creation

	mu      sync.Mutex
	subs    map[*Subscription]struct{} // guarded by mu
	running bool                       // guarded by mu
	last    error                      // guarded by mu; why the session could not be had
	changed chan struct{}              // holds one: subs changed; made with the first of them, then immutable
}

// inUse tells whether there are any. It takes no lock of the pool's.
func (r *subscriber) inUse() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.subs) > 0
}

// subscribe adds a subscription and waits for the server to accept it.
func (r *subscriber) subscribe(ctx context.Context, uri string, fn UpdateFunc) (*Subscription, error) {
	p := r.id.pool
	s := &Subscription{owner: r, uri: uri, fn: fn, wake: make(chan struct{}, 1), result: make(chan error, 1)}
	s.ctx, s.cancel = context.WithCancel(p.ctx)
	r.mu.Lock()
	if r.subs == nil {
		r.subs, r.changed = make(map[*Subscription]struct{}), make(chan struct{}, 1)
	}
	r.subs[s] = struct{}{}
	start := !r.running
	r.running = true
	if start {
		r.last = nil
	}
	r.mu.Unlock()
	if start && !p.start(r.run) {
		s.Close()
		return nil, ErrClosed
	}
	r.poke()
	err := s.await(ctx)
	if err == nil && !p.startCallback(s.deliver) {
		err = ErrClosed
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	p.counts.subscriptions.Add(1)
	context.AfterFunc(s.ctx, func() { p.counts.subscriptions.Add(-1) })
	return s, nil
}

// await waits for what the server says.
func (s *Subscription) await(ctx context.Context) error {
	p := s.owner.id.pool
	var late <-chan time.Time
	if p.cfg.AcquireTimeout != never {
		timer := time.NewTimer(p.cfg.AcquireTimeout)
		defer timer.Stop()
		late = timer.C
	}
	var err error
	select {
	case err = <-s.result:
		if err == nil {
			return nil
		}
		return fmt.Errorf("mcpool: subscribing: %w", err)
	case <-ctx.Done():
		err = contextError(ctx)
	case <-late:
		err = errors.New("no answer within AcquireTimeout")
	case <-s.ctx.Done():
		return ErrClosed
	}
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	if s.owner.last != nil {
		return fmt.Errorf("mcpool: subscribing: %w: %w", err, s.owner.last)
	}
	return fmt.Errorf("mcpool: subscribing: %w", err)
}

func (r *subscriber) remove(s *Subscription) {
	r.mu.Lock()
	delete(r.subs, s)
	r.mu.Unlock()
	r.poke()
}

// poke has the session brought into line with the subscriptions.
func (r *subscriber) poke() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// told hands an update to whom it concerns. One that fits nobody's URI goes to all:
// which resources lie below another is the server's to know.
func (r *subscriber) told(u ResourceUpdate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := false
	for s := range r.subs {
		if u.Missed || covers(s.uri, u.URI) {
			found = true
			s.push(u)
		}
	}
	if !found {
		for s := range r.subs {
			s.push(u)
		}
	}
}

// answer tells those subscribed to a URI what the server said. Those that it has
// accepted before missed what happened since.
func (r *subscriber) answer(uri string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.subs {
		if s.uri != uri {
			continue
		}
		if err == nil && s.accepted {
			s.push(ResourceUpdate{Missed: true})
		}
		s.accepted = s.accepted || err == nil
		s.replyLocked(err)
	}
}

// refuse tells all who wait that there is nothing to be had.
func (r *subscriber) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.subs {
		s.replyLocked(err)
	}
}

// replyLocked answers who waits, once. REQUIRES: s.owner.mu.
func (s *Subscription) replyLocked(err error) {
	if !s.answered {
		s.answered = true
		s.result <- err
	}
}
