package mcpool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// open opens a session for core: connects, primes, and sees to it that the
// session is of the era that b was made for.
func (p *Pool) open(ctx context.Context, b *backend, k poolKey) (*conn, error) {
	p.callbacks.Add(1)
	defer p.callbacks.Done()
	if s := b.takeSeed(k); s != nil {
		return s, nil
	}
	if err := k.id.settle(ctx); err != nil { // not all at once after a restart
		return nil, err
	}
	down := p.downSince.Load()
	s, err := p.connect(ctx, k.id, k.ability, nil)
	if err != nil {
		return nil, err
	}
	if err := p.prime(ctx, s); err != nil {
		_ = s.Close() // the reason is err
		return nil, err
	}
	if !p.fits(b, s) {
		p.supersede(b, k, s)
		return nil, errSuperseded
	}
	s.watch()
	p.alive(down)
	return s, nil
}

// connect makes one session. on is nil for a session of the pool, and else says
// what a listener wants to hear.
func (p *Pool) connect(ctx context.Context, id *identity, a ability, on *hearing) (_ *conn, err error) {
	s := &conn{id: id, ability: a, epoch: id.epoch.Load(), serial: p.serials.Add(1), hears: on}
	if on == nil && a&canHear != 0 {
		s.hears = newHearing(nil)
	}
	opening := newConnContext(ctx, s)
	ctx = opening
	if s.hears != nil {
		s.hears.opening.Store(opening)
		defer s.hears.opening.Store(nil)
	}
	// One that is there to hear waits for a stream as well, which is nothing that
	// sessions without one should wait for.
	forOthers := s.hears == nil
	version, err := p.era.begin(ctx, forOthers)
	if err != nil {
		return nil, err
	}
	certain := ""
	if version == "" && forOthers {
		defer func() { p.era.settle(certain) }()
	}
	stream := on != nil || a != 0
	transport, err := p.transport(ctx, s, stream)
	if err != nil {
		return nil, err
	}
	caught := &catcher{Transport: transport}
	endures := func() bool { return true }
	if stream && p.kind == kindHTTP {
		// Connect asks for the standing stream five times, for some 20 s, and does not
		// look at its context meanwhile. Its connection it does look at.
		endures = context.AfterFunc(ctx, caught.close)
	}
	s.cs, err = p.clientFor(s).Connect(ctx, caught, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if !endures() && err == nil { // it has a session whose connection is closed
		_ = s.cs.Close() // the reason is that ctx is over
		err = contextError(ctx)
	}
	discovery := s.discovery.Swap(nil)
	if err != nil {
		caught.close()
		if version != "" && ctx.Err() == nil && mentionsVersion(err) {
			p.era.forget(version)
		}
		return nil, firstRefusal(discovery, s.explain(ctx, err))
	}
	s.version = s.cs.InitializeResult().ProtocolVersion
	if !p.kind.http() {
		s.ctx, s.end = context.WithCancel(context.Background())
	}
	if s.modern() || discovery != nil && saysOld(*discovery) {
		certain = s.version
	}
	if s.hears == nil { // else streams that it asked for may still be on their way
		opening.end()
	}
	return s, nil
}

// catcher keeps the connection that a transport made, because Connect does not
// close it after every failure. The connection is handed on as it is: wrapped, it
// would lose what the SDK looks for in it.
type catcher struct {
	mcp.Transport

	mu   sync.Mutex
	conn mcp.Connection // guarded by mu
	over bool           // guarded by mu; there is to be none any more
}

func (c *catcher) Connect(ctx context.Context) (mcp.Connection, error) {
	conn, err := c.Transport.Connect(ctx)
	if err != nil {
		return conn, err //nolint:wrapcheck // it is the SDK's, for the SDK
	}
	c.mu.Lock()
	c.conn = conn
	over := c.over
	c.mu.Unlock()
	if over {
		c.close()
	}
	return conn, nil
}

func (c *catcher) close() {
	c.mu.Lock()
	conn := c.conn
	c.over = true
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // it may be closed already
	}
}

// prime lists the tools on a session that needs to know them: over HTTP from
// 2026-07-28 on, arguments marked x-mcp-header go into headers, and the SDK finds
// the marks in what the session itself has listed. That is all it keeps the list for:
// see onlyMarked.
func (p *Pool) prime(ctx context.Context, s *conn) error {
	init := s.cs.InitializeResult()
	if !s.sharedByNature() || init.Capabilities == nil || init.Capabilities.Tools == nil {
		return nil
	}
	for _, err := range s.cs.Tools(ctx, nil) {
		if err != nil {
			return s.explain(ctx, fmt.Errorf("listing tools: %w", err))
		}
	}
	return nil
}

// warm is core's warm-up.
func (p *Pool) warm(ctx context.Context, s *conn) error {
	p.callbacks.Add(1)
	defer p.callbacks.Done()
	lent := newSession(p, s, options{replay: ReplayNever}, nil)
	defer lent.Release()
	return p.cfg.WarmupHook(ctx, lent)
}

// explain says why a session could not be opened, in the process's words if there
// is one.
func (s *conn) explain(ctx context.Context, err error) error {
	if s.process != nil && !errors.Is(ctx.Err(), context.Canceled) { // nobody waits for that any more
		wait := afterwards
		if ctx.Err() != nil {
			wait = 200 * time.Millisecond // the time is over because it did not end
		}
		if ended := s.process.failure(wait); ended != nil {
			return ended
		}
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	return plain(s.scrub(err))
}

// firstRefusal says why a handshake failed in two steps. A server that wants
// credentials before it answers server/discover may not know the initialize that the
// SDK falls back to: what it makes of that says nothing, and the refusal says what to do.
func firstRefusal(discovery *error, err error) error {
	var (
		refusal *AuthError
		rpc     *jsonrpc.Error
		status  *StatusError
	)
	if discovery != nil && errors.As(*discovery, &refusal) && (errors.As(err, &rpc) || errors.As(err, &status)) {
		return refusal
	}
	return err
}

// scrub takes the server's session id out of an error's text.
func (s *conn) scrub(err error) error {
	if err == nil || s.cs == nil {
		return err
	}
	if id := s.cs.ID(); id != "" && strings.Contains(err.Error(), id) {
		return errors.New(strings.ReplaceAll(err.Error(), id, "[redacted]"))
	}
	return err
}

// plain returns the typed error within what the SDK wrapped around it.
func plain(err error) error {
	var (
		session   *SessionError
		throttled *ThrottledError
		refusal   *AuthError
		status    *StatusError
	)
	switch {
	case errors.As(err, &session):
		return session
	case errors.As(err, &throttled):
		return throttled
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &status):
		return status
	}
	return err
}

// mentionsVersion tells whether a handshake failed over the protocol version.
func mentionsVersion(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), "version")
}

// pauseAfterLoss spreads the sessions opened after a restart.
func pauseAfterLoss(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(rand.Float64() * float64(50*time.Millisecond))):
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}
