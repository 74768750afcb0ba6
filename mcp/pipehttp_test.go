package mcpool

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// pipeServer is a test server behind pipes in memory, so that it can live in a
// bubble of synctest.
type pipeServer struct {
	*server

	down  atomic.Bool // nobody answers
	conns chan net.Conn
	ended chan struct{}

	mu    sync.Mutex
	open  []net.Conn  // guarded by mu; client ends
	dials []time.Time // guarded by mu
}

func newPipeServer(t *testing.T, e era) *pipeServer {
	t.Helper()
	return newPipeServerOf(t, e, nil)
}

// newPipeServerOf is newPipeServer for a server of one's own.
func newPipeServerOf(t *testing.T, e era, m *mcp.Server) *pipeServer {
	t.Helper()
	s := &pipeServer{
		server: &server{t: t, era: e, counters: make(map[string]int), runs: make(map[string]int), stopped: make(chan struct{})},
		conns:  make(chan net.Conn), ended: make(chan struct{}),
	}
	if s.mcp = m; m == nil {
		s.mcp = s.tools()
	}
	handler := s.handler()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.server.mu.Lock()
		s.requests = append(s.requests, seen{r.Method, r.Header.Get("Mcp-Method"), r.Header.Clone()})
		s.server.mu.Unlock()
		if hook := s.hook.Load(); hook != nil && (*hook)(w, r) {
			return
		}
		handler.ServeHTTP(w, r)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(s)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
		close(s.stopped)
		for session := range s.mcp.Sessions() {
			_ = session.Close()
		}
	})
	return s
}

func (s *pipeServer) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.ended:
		return nil, net.ErrClosed
	}
}

func (s *pipeServer) Close() error {
	close(s.ended)
	return nil
}

func (s *pipeServer) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (s *pipeServer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	s.mu.Lock()
	s.dials = append(s.dials, time.Now())
	s.open = append(s.open, near)
	s.mu.Unlock()
	if s.down.Load() {
		return nil, errors.New("nobody there")
	}
	select {
	case s.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// cut ends all connections.
func (s *pipeServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		_ = c.Close()
	}
	s.open = nil
}

// attempts returns when the server was dialled since the last call. Dials of the same
// moment are one attempt.
func (s *pipeServer) attempts() (list []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.dials {
		if len(list) == 0 || list[len(list)-1] != at {
			list = append(list, at)
		}
	}
	s.dials = nil
	return list
}

// pool opens a pool whose sessions are left alone once they are open.
func (s *pipeServer) pool(change func(*Config)) *Pool {
	s.t.Helper()
	cfg := Config{
		Endpoint: "http://server.test/mcp", Min: 1, ProbeInterval: Off, MaxLifetime: Off,
		HTTP: HTTP{Client: &http.Client{Transport: &http.Transport{DialContext: s.dial}}},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := Open(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// inMemoryIf is a transport that fails while down is set, and counts.
func inMemoryIf(up func(context.Context, Dial) (mcp.Transport, error), down *atomic.Bool, tried *atomic.Int32) func(context.Context, Dial) (mcp.Transport, error) {
	return func(ctx context.Context, d Dial) (mcp.Transport, error) {
		tried.Add(1)
		if down.Load() {
			return nil, errors.New("nobody there")
		}
		return up(ctx, d)
	}
}
