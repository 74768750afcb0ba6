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
	process *process // nil unless the server is a child
	carrier *carrier // nil unless Config.Dialer made the connection
	serial  uint64   // among all of the pool
	hears   *hearing // nil unless it is there to hear the server

	gone atomic.Bool           // the server has forgotten the session
	deaf atomic.Bool           // the server offers no standing stream
	dead atomic.Pointer[error] // why it is of no more use
	// discovery is what server/discover ended with; set only while it is being opened.
	discovery atomic.Pointer[error]

	mourned atomic.Bool // its death was logged

	mu     sync.Mutex
	calls  map[*call]struct{} // guarded by mu; in flight, or with a stream that has not ended
	closed bool               // guarded by mu
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
	calls := make([]*call, 0, len(s.calls))
	for c := range s.calls {
		calls = append(calls, c)
	}
	s.mu.Unlock()
	for _, c := range calls {
		c.fail(&SessionError{Pool: s.id.pool.cfg.Name, Gone: true, MayRun: true, Err: errSessionClosed})
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

// enter registers a call, so that Close can end it.
func (s *conn) enter(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.calls == nil {
		s.calls = make(map[*call]struct{})
	}
	s.calls[c] = struct{}{}
	return true
}

// forget undoes enter.
func (s *conn) forget(c *call) {
	s.mu.Lock()
	delete(s.calls, c)
	s.mu.Unlock()
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
