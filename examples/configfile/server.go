package main

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// server speaks MCP in WebSocket messages, to those who have the token.
type server struct {
	url, token string
	http       *http.Server
	served     chan error
	handlers   sync.WaitGroup

	sessions, refused atomic.Int64

	mu     sync.Mutex
	age    int              // guarded by mu; a session is ready while it is of this age
	alive  map[*session]int // guarded by mu; and their ages
	closed bool             // guarded by mu
}

type session struct{ ws *websocket.Conn }

func startServer(ctx context.Context) (*server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{
		url: "ws://" + l.Addr().String() + "/mcp", token: rand.Text(), served: make(chan error, 1), alive: make(map[*session]int),
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { s.served <- s.http.Serve(l) }()
	return s, nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		s.refused.Add(1)
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mcp"}})
	if err != nil {
		return // Accept has answered
	}
	defer ws.CloseNow() //nolint:errcheck // it may be closed already
	me := &session{ws}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	age := s.age
	s.alive[me] = age
	s.handlers.Add(1)
	s.mu.Unlock()
	defer s.handlers.Done()
	defer func() {
		s.mu.Lock()
		delete(s.alive, me)
		s.mu.Unlock()
	}()
	s.sessions.Add(1)
	line := websocket.NetConn(r.Context(), ws, websocket.MessageText)
	running, err := s.tools(age).Connect(r.Context(), &mcp.IOTransport{Reader: line, Writer: line}, nil)
	if err == nil {
		_ = running.Wait() // however it ended, the WebSocket ends with it
	}
}

type readiness struct {
	Ready bool `json:"ready"`
}

// tools is the server of one session.
func (s *server) tools(age int) *mcp.Server {
	m := mcp.NewServer(&mcp.Implementation{Name: "configfile-example", Version: "1"}, nil)
	mcp.AddTool(m, &mcp.Tool{Name: "status", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, readiness, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return nil, readiness{Ready: s.age == age}, nil
		})
	return m
}

// tire has every open session say from now on that it is not ready.
func (s *server) tire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age++
}

// tired reports whether such a session is still open, or no other.
func (s *server) tired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, age := range s.alive {
		if age < s.age {
			return true
		}
	}
	return len(s.alive) == 0
}

func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	for one := range s.alive {
		_ = one.ws.CloseNow()
	}
	s.mu.Unlock()
	_ = s.http.Close()
	<-s.served //nolint:errcheck // it says that it was closed
	s.handlers.Wait()
}
