package sigv4server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says whom the server knows.
type Config struct {
	// Region and Service are what signatures must be for.
	Region, Service string
	// AccessKey and SecretKey are those of the application itself.
	AccessKey, SecretKey string
	// Role is the ARN that AssumeRole gives out; empty gives out none.
	Role string
	// Forbidden are session names that may not assume it.
	Forbidden []string
	// Ahead is how far the server's clock is ahead of ours.
	Ahead time.Duration
}

// Stats counts requests.
type Stats struct {
	Verified int `json:"verified"`
	Refused  int `json:"refused"`
	// Sessions counts the role sessions that were given out, by name.
	Sessions map[string]int `json:"role_sessions"`
}

// Server runs.
type Server struct {
	cfg    Config
	sts    *http.Server
	target *http.Server
	served chan error
	// Endpoint is the URL of what is guarded, STS that of the token service.
	Endpoint, STS string

	mu    sync.Mutex
	keys  map[string]key // by access key
	stats Stats
}

type key struct {
	secret, token string
	caller        string // who it is, for tools to see
	expired       bool
}

// CallerHeader is set on requests that are let through: who signed them.
const CallerHeader = "X-Verified-Caller"

// maxBody is more than an MCP request of the examples has.
const maxBody = 4 << 20

// Start returns a server that guards a handler at /mcp.
func Start(ctx context.Context, cfg Config, next http.Handler) (*Server, error) {
	s := &Server{cfg: cfg, served: make(chan error, 2), keys: map[string]key{cfg.AccessKey: {secret: cfg.SecretKey, caller: "the application"}}}
	s.stats.Sessions = make(map[string]int)
	listen := func(h http.Handler) (*http.Server, string, error) {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", fmt.Errorf("sigv4server: %w", err)
		}
		server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		go func() { s.served <- server.Serve(l) }()
		return server, "http://" + l.Addr().String(), nil
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", s.Guard(next))
	var err error
	if s.target, s.Endpoint, err = listen(mux); err != nil {
		return nil, err
	}
	s.Endpoint += "/mcp"
	if s.sts, s.STS, err = listen(http.HandlerFunc(s.assumeRole)); err != nil {
		return nil, errors.Join(err, s.target.Close())
	}
	return s, nil
}

// Close ends both servers at once.
func (s *Server) Close() error {
	err := errors.Join(s.target.Close(), s.sts.Close())
	for range 2 {
		if serve := <-s.served; !errors.Is(serve, http.ErrServerClosed) {
			err = errors.Join(err, serve)
		}
	}
	return err
}

// Stats returns a snapshot.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Sessions = maps.Clone(st.Sessions)
	return st
}

// ExpireSessions ends all sessions of the role before their time.
func (s *Server) ExpireSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, k := range s.keys {
		k.expired = k.token != ""
		s.keys[id] = k
	}
}

// Guard returns a handler that verifies before it passes on.
func (s *Server) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "the body is too large or broke off", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		caller, err := s.verify(r, body, s.cfg.Service)
		s.count(err)
		if err != nil {
			code, _, _ := strings.Cut(err.Error(), ":")
			w.Header().Set("X-Amzn-Errortype", code)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"message":%q}`, err)
			return
		}
		r.Header.Set(CallerHeader, caller)
		next.ServeHTTP(w, r)
	})
}

func (s *Server) now() time.Time { return time.Now().Add(s.cfg.Ahead) }

func (s *Server) count(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.stats.Refused++
	} else {
		s.stats.Verified++
	}
}

func (s *Server) lookup(id string) (key, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.keys[id]
	return k, ok
}

func (s *Server) forbidden(session string) bool { return slices.Contains(s.cfg.Forbidden, session) }
