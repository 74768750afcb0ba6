package mcpool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// conn is what the pool holds: one session of one identity.
type conn struct {
	// Immutable after creation, or after connect.
	id      *identity
	ability ability
	epoch   uint64 // of the identity when the opening began
	cs      *mcp.ClientSession
	version string
	ctx     context.Context    //nolint:containedctx // of its calls that have nothing else to end with; nil over HTTP
	end     context.CancelFunc // of ctx
	process *process           // nil unless the server is a child
	carrier *carrier           // nil unless Config.Dialer made the connection
	serial  uint64             // among all of the pool
	hears   *hearing           // nil unless it is there to hear the server

	gone atomic.Bool           // the server has forgotten the session
	deaf atomic.Bool           // the server offers no standing stream
	dead atomic.Pointer[error] // why it is of no more use
	// discovery is what server/discover ended with; set only while it is being opened.
	discovery atomic.Pointer[error]

	mourned atomic.Bool // its death was logged

	mu     sync.Mutex
	calls  *call // guarded by mu; live ones in flight, or with a stream that has not ended: the youngest of a list
	closed bool  // guarded by mu
}

// errSessionClosed ends the calls of a session that is closed under them.
var errSessionClosed = errors.New("mcpool: the session was closed")

// Close ends the session. The SDK's Close waits for calls in flight, so they are
// ended first: there are some only if the pool's patience is over.
func (s *conn) Close() error {
	s.id.pool.callbacks.Add(1)
	defer s.id.pool.callbacks.Done()
	s.mu.Lock()
	s.closed = true
	var calls []*call
	for c := s.calls; c != nil; c = c.next {
		calls = append(calls, c)
	}
	s.mu.Unlock()
	for _, c := range calls {
		c.fail(&SessionError{Pool: s.id.pool.cfg.Name, Gone: true, MayRun: true, Err: errSessionClosed})
	}
	if s.end != nil {
		s.end()
	}
	s.kill(errSessionClosed)
	if s.carrier != nil {
		return s.carrier.finish(s.cs)
	}
	err := s.cs.Close()
	if s.process != nil {
		s.process.stop()
		return nil // how it ended is no fault of closing
	}
	if s.gone.Load() || errors.Is(err, mcp.ErrSessionMissing) {
		return nil
	}
	return s.scrub(err)
}

// modern tells whether the session is of the era from 2026-07-28 on.
func (s *conn) modern() bool { return isModern(s.version) }

// sharedByNature tells whether the session is no more than a client-side object,
// so that there is nothing to have for oneself.
func (s *conn) sharedByNature() bool { return s.id.pool.kind == kindHTTP && s.modern() }

// kill marks the session as of no more use. Calls on it go on.
func (s *conn) kill(err error) { s.dead.CompareAndSwap(nil, &err) }

// fault returns why the session is of no more use, or nil.
func (s *conn) fault() error {
	if err := s.dead.Load(); err != nil {
		return *err
	}
	return nil
}

// enter registers a call, so that Close can end it. One that has nothing of its own
// to end with ends with the session's context, and is not looked for.
func (s *conn) enter(c *call) bool {
	if c.live == nil {
		return s.ctx.Err() == nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if c.next = s.calls; c.next != nil {
		c.next.prev = c
	}
	s.calls = c
	return true
}

// forget undoes enter.
func (s *conn) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.prev != nil:
		c.prev.next = c.next
	case s.calls == c:
		s.calls = c.next
	default:
		return // it never entered
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}

// watch marks the session as dead when its connection ends. Over Streamable HTTP
// nothing would be noticed, and the goroutine is saved.
func (s *conn) watch() {
	if s.id.pool.kind == kindHTTP {
		return
	}
	go func() {
		_ = s.cs.Wait() // why it ended is in the process's own words, or in none
		s.kill(s.ended())
	}()
}

// ended describes the end of the connection.
func (s *conn) ended() error {
	var err error
	if s.process != nil {
		err = s.process.failure(afterwards)
	}
	if s.carrier != nil {
		err = s.carrier.ended()
	}
	return &SessionError{Pool: s.id.pool.cfg.Name, Gone: true, Err: err}
}

// probe is core's probe: an error has the session closed.
func (s *conn) probe(ctx context.Context) error {
	p := s.id.pool
	p.callbacks.Add(1)
	defer p.callbacks.Done()
	if err := s.fault(); err != nil {
		return err
	}
	lent := newSession(p, s, options{replay: ReplayNever}, nil)
	defer lent.Release()
	if p.cfg.HealthProbe != nil {
		return p.cfg.HealthProbe(ctx, lent)
	}
	return lent.alive(ctx)
}

// probeTimeout bounds one probe.
const probeTimeout = 5 * time.Second
