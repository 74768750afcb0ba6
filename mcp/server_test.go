package mcpool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/core"
)

// era is a protocol era that a test server speaks.
type era string

const (
	oldEra    era = "old"
	modernEra era = "modern"
)

// bothEras runs a test against servers of both.
func bothEras(t *testing.T, f func(t *testing.T, e era)) {
	t.Helper()
	for _, e := range []era{oldEra, modernEra} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			f(t, e)
		})
	}
}

// server is a real MCP server on loopback that can be killed and started again at
// the same address, and that remembers the HTTP requests it got.
type server struct {
	t    *testing.T
	era  era
	addr string

	// hook may answer a request itself; it returns true if it did.
	hook atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]

	mu       sync.Mutex
	mcp      *mcp.Server
	http     *http.Server
	served   chan struct{}
	serving  *int          // requests, since the last start
	stopped  chan struct{} // closed when the server is killed
	requests []seen
	counters map[string]int // by MCP session
	runs     map[string]int // by tool
}

// seen is one HTTP request.
type seen struct {
	method string
	rpc    string // Mcp-Method
	header http.Header
}

func newServer(t *testing.T, e era) *server {
	t.Helper()
	s := &server{t: t, era: e, counters: make(map[string]int), runs: make(map[string]int)}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) url() string { return "http://" + s.addr + "/mcp" }

// loopback is an address that, where all of 127/8 is the machine itself, no other copy
// of this binary has: one could take the port of a server that is killed and comes back.
var loopback = func() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.N(254), rand.N(256), 1+rand.N(254))
}()

// start listens, at the address of before if there is one.
func (s *server) start() {
	s.t.Helper()
	addr := s.addr
	if addr == "" {
		addr = loopback + ":0"
	}
	var l net.Listener
	s.poll("listen on "+addr, func() bool {
		var err error
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
		return err == nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = l.Addr().String()
	s.counters = make(map[string]int)
	s.stopped = make(chan struct{})
	s.mcp = s.tools()
	handler := s.handler()
	mux := http.NewServeMux()
	server, served, serving := &http.Server{Handler: mux}, make(chan struct{}), new(int)
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.http != server { // killed, and nothing begins any more
			s.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		*serving++
		defer func() {
			s.mu.Lock()
			*serving--
			s.mu.Unlock()
		}()
		s.requests = append(s.requests, seen{r.Method, r.Header.Get("Mcp-Method"), r.Header.Clone()})
		s.mu.Unlock()
		if hook := s.hook.Load(); hook != nil && (*hook)(w, r) {
			return
		}
		handler.ServeHTTP(w, r)
	})
	s.http, s.served, s.serving = server, served, serving
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
}

// kill ends the server with all its connections and sessions.
func (s *server) kill() {
	s.mu.Lock()
	server, served, serving, m, stopped := s.http, s.served, s.serving, s.mcp, s.stopped
	s.http = nil
	s.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Close()
	<-served
	close(stopped) // last, so that nothing is answered any more
	// A request under way may still make a session.
	s.poll("the requests of the server to end", func() bool {
		s.mu.Lock()
		over := *serving == 0
		s.mu.Unlock()
		for session := range m.Sessions() {
			_ = session.Close()
		}
		return over
	})
}

func (s *server) intercept(f func(w http.ResponseWriter, r *http.Request) bool) { s.hook.Store(&f) }

func (s *server) seen() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]seen(nil), s.requests...)
}

func (s *server) ran(tool string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[tool]
}

type textArgs struct {
	Text string `json:"text,omitempty"`
}

// tools returns an MCP server with the tools that tests use.
func (s *server) tools() *mcp.Server {
	stopped := s.stopped
	m := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	add := func(name string, readOnly bool, f func(ctx context.Context, r *mcp.CallToolRequest, a textArgs) (string, error)) {
		tool := &mcp.Tool{Name: name, Description: "test", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: readOnly}}
		mcp.AddTool(m, tool, func(ctx context.Context, r *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
			s.mu.Lock()
			s.runs[name]++
			s.mu.Unlock()
			text, err := f(ctx, r, a)
			if err != nil {
				return nil, nil, err
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
		})
	}
	add("echo", true, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (string, error) { return a.Text, nil })
	add("write", false, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (string, error) { return a.Text, nil })
	add("fail", true, func(context.Context, *mcp.CallToolRequest, textArgs) (string, error) {
		return "", errors.New("the tool failed")
	})
	add("hang", true, func(ctx context.Context, _ *mcp.CallToolRequest, _ textArgs) (string, error) {
		select {
		case <-ctx.Done():
		case <-stopped:
		}
		return "", ctx.Err()
	})
	add("counter", false, func(_ context.Context, r *mcp.CallToolRequest, _ textArgs) (string, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.counters[r.Session.ID()]++
		return fmt.Sprint(s.counters[r.Session.ID()]), nil
	})
	add("whoami", true, func(_ context.Context, r *mcp.CallToolRequest, _ textArgs) (string, error) {
		if r.Extra == nil {
			return "", nil
		}
		return r.Extra.Header.Get("Authorization"), nil
	})
	add("header", true, func(_ context.Context, r *mcp.CallToolRequest, a textArgs) (string, error) {
		return r.Extra.Header.Get(a.Text), nil
	})
	add("session", true, func(_ context.Context, r *mcp.CallToolRequest, _ textArgs) (string, error) {
		return r.Session.ID(), nil
	})
	add("progress", true, func(ctx context.Context, r *mcp.CallToolRequest, a textArgs) (string, error) {
		token := r.Params.GetProgressToken()
		if token == nil {
			return "no token", nil
		}
		return fmt.Sprint(token), r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: token, Progress: 1, Message: a.Text,
		})
	})
	mcp.AddTool(m, &mcp.Tool{Name: "ask"}, func(_ context.Context, r *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
		answer, ok := r.Params.InputResponses["q"].(*mcp.ElicitResult)
		if !ok {
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": &mcp.ElicitParams{
				Message: a.Text, RequestedSchema: map[string]any{
					"type": "object", "properties": map[string]any{"answer": map[string]any{"type": "string"}},
				},
			}}}, nil, nil
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(answer.Content["answer"])}}}, nil, nil
	})
	m.AddPrompt(&mcp.Prompt{Name: "greet"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Description: "hello"}, nil
	})
	m.AddResource(&mcp.Resource{Name: "r", URI: "test://r"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "test://r", Text: "content"}}}, nil
	})
	m.AddResourceTemplate(&mcp.ResourceTemplate{Name: "t", URITemplate: "test://t/{x}"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{}, nil
	})
	return m
}

// poll waits until f is true, at most as long as a test may take.
func (s *server) poll(what string, f func() bool) { poll(s.t, what, f) }

func poll(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// open opens a pool on the server and closes it with the test.
func (s *server) open(change func(*Config)) *Pool {
	s.t.Helper()
	cfg := Config{Endpoint: s.url(), ConnectTimeout: time.Minute} // the machine may be busy
	if change != nil {
		change(&cfg)
	}
	return openPool(s.t, cfg)
}

func openPool(t *testing.T, cfg Config) *Pool {
	t.Helper()
	p, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var late *core.CloseError
		if err := p.Close(ctx); err != nil && !errors.As(err, &late) {
			t.Errorf("Close: %v", err)
		} else if late != nil {
			t.Errorf("Close: %v", late)
		}
	})
	return p
}

// text is the text of a result.
func text(t *testing.T, res *mcp.CallToolResult, err error) string {
	t.Helper()
	if err != nil {
		t.Fatalf("call: %v", err)
	}
	if len(res.Content) == 0 {
		t.Fatalf("call: no content (error: %v)", res.IsError)
	}
	c, ok := res.Content[0].(*mcp.TextContent)
	if !ok {
		t.Fatalf("call: content is a %T", res.Content[0])
	}
	return c.Text
}
