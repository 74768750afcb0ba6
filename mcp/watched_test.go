package mcpool

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// watchedServer is a server whose resources can be subscribed to, on loopback, that
// can be killed and started again at the same address.
type watchedServer struct {
	t    *testing.T
	era  era
	addr string
	http *httptest.Server
	mcp  *mcp.Server

	mu      sync.Mutex
	subs    map[string]int // by URI: subscribed less unsubscribed
	headers []http.Header
	methods map[string]int
	hook    func(w http.ResponseWriter, r *http.Request) bool // may answer requests
}

func (s *watchedServer) intercept(hook func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

func newWatched(t *testing.T, e era) *watchedServer {
	t.Helper()
	s := &watchedServer{t: t, era: e, subs: make(map[string]int), methods: make(map[string]int)}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *watchedServer) start() {
	s.t.Helper()
	addr := s.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var l net.Listener
	poll(s.t, "listen on "+addr, func() bool {
		var err error
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
		return err == nil
	})
	s.addr = l.Addr().String()
	s.mu.Lock()
	s.subs = make(map[string]int)
	s.mcp = watchable(s.note)
	s.mu.Unlock()
	m := s.mcp
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m },
		&mcp.StreamableHTTPOptions{Stateless: s.era == modernEra})
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.headers = append(s.headers, r.Header.Clone())
		s.methods[r.Method+" "+r.Header.Get("Mcp-Method")]++
		hook := s.hook
		s.mu.Unlock()
		if hook != nil && hook(w, r) {
			return
		}
		handler.ServeHTTP(w, r)
	}))
	_ = s.http.Listener.Close()
	s.http.Listener = l
	s.http.Start()
}

// watchable returns a server with resources to subscribe to.
func watchable(note func(uri string, by int)) *mcp.Server {
	m := mcp.NewServer(&mcp.Implementation{Name: "watched", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler: func(_ context.Context, r *mcp.SubscribeRequest) error {
			if r.Params.URI == "test://secret" {
				return &jsonrpc.Error{Code: -32002, Message: "not for you"}
			}
			note(r.Params.URI, 1)
			return nil
		},
		UnsubscribeHandler: func(_ context.Context, r *mcp.UnsubscribeRequest) error {
			note(r.Params.URI, -1)
			return nil
		},
	})
	for _, name := range []string{"a", "b"} {
		m.AddResource(&mcp.Resource{Name: name, URI: "test://" + name}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{}, nil
		})
	}
	return m
}

func (s *watchedServer) kill() {
	if s.http == nil {
		return
	}
	_ = s.http.Listener.Close()
	s.http.CloseClientConnections()
	for session := range s.mcp.Sessions() {
		_ = session.Close()
	}
	s.http.CloseClientConnections()
	s.http.Close()
	s.http = nil
}

func (s *watchedServer) note(uri string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs[uri] += by
}

func (s *watchedServer) subscribed(uri string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subs[uri]
}

func (s *watchedServer) asked(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.methods[what]
}

func (s *watchedServer) changed(uri string) {
	s.t.Helper()
	if err := s.mcp.ResourceUpdated(context.Background(), &mcp.ResourceUpdatedNotificationParams{URI: uri}); err != nil {
		s.t.Error(err)
	}
}

func (s *watchedServer) open(change func(*Config)) *Pool {
	s.t.Helper()
	cfg := Config{Endpoint: "http://" + s.addr + "/", Min: 1, ConnectTimeout: patient}
	if change != nil {
		change(&cfg)
	}
	return openPool(s.t, cfg)
}

// told collects updates.
type told chan ResourceUpdate

func (c told) hear(_ context.Context, u ResourceUpdate) { c <- u }

func (c told) next(t *testing.T) ResourceUpdate {
	t.Helper()
	select {
	case u := <-c:
		return u
	case <-time.After(patient):
		t.Error("told nothing")
	}
	return ResourceUpdate{}
}

func subscribe(t *testing.T, p *Pool, uri string, opts ...Option) (*Subscription, told) {
	t.Helper()
	c := make(told, 100)
	sub, err := p.Subscribe(t.Context(), uri, c.hear, opts...)
	if err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	return sub, c
}
