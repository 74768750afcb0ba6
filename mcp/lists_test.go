package mcpool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func callNamed(name string) *mcp.CallToolParams { return &mcp.CallToolParams{Name: name} }

func canceled(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// offer adds tools that only take room.
func (s *server) offer(names ...string) {
	s.mu.Lock()
	m := s.mcp
	s.mu.Unlock()
	for _, name := range names {
		mcp.AddTool(m, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{}, nil, nil
		})
	}
}

func names(tools []*mcp.Tool) map[string]bool {
	m := make(map[string]bool)
	for _, t := range tools {
		m[t.Name] = true
	}
	return m
}

func TestListsHaveAllPagesAndAreFetchedOnce(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		var many []string
		for i := range 1100 { // more than a page of the SDK's
			many = append(many, fmt.Sprintf("tool%04d", i))
		}
		s.offer(many...)
		p := s.open(func(c *Config) { c.NoListener = true })
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				tools, err := p.ListTools(t.Context())
				if err != nil || !names(tools)["tool1099"] || !names(tools)["echo"] {
					t.Errorf("%d tools, %v", len(tools), err)
				}
			})
		}
		wg.Wait()
		if n := p.Stats().ListFetches; n != 1 {
			t.Errorf("fetched %d times", n)
		}
		prompts, err := p.ListPrompts(t.Context())
		if err != nil || len(prompts) != 1 {
			t.Errorf("prompts: %v, %v", prompts, err)
		}
		resources, err := p.ListResources(t.Context())
		if err != nil || len(resources) != 1 {
			t.Errorf("resources: %v, %v", resources, err)
		}
		templates, err := p.ListResourceTemplates(t.Context())
		if err != nil || len(templates) != 1 {
			t.Errorf("templates: %v, %v", templates, err)
		}
		read, err := p.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "test://r"})
		if err != nil || read.Contents[0].Text != "content" {
			t.Errorf("resource: %v, %v", read, err)
		}
		prompt, err := p.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "greet"})
		if err != nil || prompt.Description != "hello" {
			t.Errorf("prompt: %v, %v", prompt, err)
		}
	})
}

func TestAnInvalidationDuringAFetchWins(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(func(c *Config) { c.NoListener = true; c.Min, c.Max = 1, 1 })
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		arrived, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			held := false
			once.Do(func() { held = true })
			if held {
				close(arrived)
				<-release
			}
			return false
		})
		first, second := make(chan error, 1), make(chan error, 1)
		list := func(done chan error) {
			_, err := p.ListTools(t.Context())
			done <- err
		}
		go list(first)
		<-arrived
		p.InvalidateTools()
		go list(second)
		poll(t, "the second to wait", func() bool { return p.Stats().ListWaiters == 1 })
		close(release)
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
		if n := p.Stats().ListFetches; n != 2 {
			t.Errorf("fetched %d times, want 2", n)
		}
		// What the second fetch brought is what is remembered.
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Error(err)
		}
		if n := p.Stats().ListFetches; n != 2 {
			t.Errorf("fetched %d times, want 2", n)
		}
	})
}

func TestAChangeOfToolsIsHeardAndTold(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		changes := make(chan SchemaChange, 10)
		p := s.open(func(c *Config) { c.OnSchemaChanged = func(e SchemaChange) { changes <- e } })
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The listener may not be there yet; what it missed it makes up for.
		poll(t, "the listener", func() bool { return s.listeners() > 0 })
		s.offer("added")
		c := next(t, changes)
		if len(c.Added) != 1 || c.Added[0] != "added" || len(c.Removed)+len(c.Changed) != 0 || c.Old == c.New || c.Identity != "default" {
			t.Errorf("got %+v", c)
		}
		if tools, err := p.ListTools(t.Context()); err != nil || !names(tools)["added"] {
			t.Errorf("the new tool is not listed (%v)", err)
		}
		// The listener dies with the server, is opened again, and misses nothing.
		s.kill()
		s.start()
		s.offer("after")
		c = next(t, changes)
		if got := strings.Join(c.Added, ","); got != "after" && got != "" {
			t.Errorf("got %+v", c)
		}
	})
}

// next waits for a change.
func next(t *testing.T, changes <-chan SchemaChange) (c SchemaChange) {
	t.Helper()
	poll(t, "a change to be told", func() bool {
		select {
		case c = <-changes:
			return true
		default:
			return false
		}
	})
	return c
}

func TestAChangeBeforeTheListenerIsThereIsToldToo(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		release := make(chan struct{})
		s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || r.Header.Get("Mcp-Method") == "subscriptions/listen" {
				<-release
			}
			return false
		})
		changes := make(chan SchemaChange, 10)
		p := s.open(func(c *Config) { c.OnSchemaChanged = func(e SchemaChange) { changes <- e } })
		poll(t, "the list that changes are changes from", func() bool { return p.def.lists.schema.current() != "" })
		poll(t, "the listener to come", func() bool { return s.listeners() > 0 })
		s.offer("added")
		close(release)
		if c := next(t, changes); len(c.Added) != 1 || c.Added[0] != "added" {
			t.Errorf("got %+v", c)
		}
	})
}

func TestAStreamThatDoesNotBeginKeepsNoSessionFromOpening(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || r.Header.Get("Mcp-Method") == "subscriptions/listen" {
				<-release
			}
			return false
		})
		p := s.open(func(c *Config) { c.Lazy, c.Min = true, Off })
		p.def.listen() // before anything else has asked which era it is
		poll(t, "the listener", func() bool { return s.listeners() > 0 })
		if tools, err := p.ListTools(t.Context()); err != nil || len(tools) == 0 {
			t.Errorf("%d tools, %v", len(tools), err)
		}
	})
}

// listeners is how many streams for notifications were asked for.
func (s *server) listeners() (n int) {
	for _, r := range s.seen() {
		if r.method == http.MethodGet || r.rpc == "subscriptions/listen" {
			n++
		}
	}
	return n
}

func TestThereIsOneListenerForAnIdentity(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(func(c *Config) { c.Min = 4 })
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.listeners(); n != 0 {
			t.Errorf("%d listeners before anybody wanted a list", n)
		}
		for range 3 {
			if _, err := p.ListTools(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		poll(t, "the listener", func() bool { return s.listeners() == 1 })
		if _, err := p.ListTools(t.Context(), WithIdentity(auth.Identity{ID: "other"})); err != nil {
			t.Fatal(err)
		}
		poll(t, "the other's listener", func() bool { return s.listeners() == 2 })
	})
}

func TestTheSchemaHashDependsOnWhatMattersAlone(t *testing.T) {
	t.Parallel()
	a := &mcp.Tool{Name: "a", InputSchema: map[string]any{"type": "object", "x": 1}}
	b := &mcp.Tool{Name: "b", InputSchema: map[string]any{"type": "object"}}
	same := &mcp.Tool{Name: "a", InputSchema: map[string]any{"x": 1, "type": "object"}}
	other := &mcp.Tool{Name: "a", InputSchema: map[string]any{"type": "object", "x": 2}}
	base := SchemaHash([]*mcp.Tool{a, b})
	if SchemaHash([]*mcp.Tool{b, same, nil}) != base {
		t.Error("the order matters")
	}
	if SchemaHash([]*mcp.Tool{other, b}) == base || SchemaHash([]*mcp.Tool{a}) == base {
		t.Error("a change does not matter")
	}
}

func TestProgressReachesTheCallerThatAsked(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		p := newServer(t, e).open(func(c *Config) { c.Min, c.Max = 1, 1 })
		var wg sync.WaitGroup
		var mu sync.Mutex
		tokens := make(map[string]bool)
		for i := range 10 {
			wg.Go(func() {
				want := fmt.Sprint(i)
				var got []string
				res, err := p.Call(t.Context(), "progress", map[string]any{"text": want},
					WithProgress(func(_ context.Context, n *mcp.ProgressNotificationParams) { got = append(got, n.Message) }))
				token := text(t, res, err)
				mu.Lock()
				defer mu.Unlock()
				if tokens[token] {
					t.Errorf("token %q was used twice", token)
				}
				tokens[token] = true
				for _, m := range got {
					if m != want {
						t.Errorf("call %q was told of %q", want, m)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestAnElicitationReachesTheCallerThatAsked(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		p := newServer(t, e).open(nil)
		var wg, asked sync.WaitGroup
		asked.Add(6)
		for i := range 6 {
			wg.Go(func() {
				want := fmt.Sprint(i)
				res, err := p.Call(t.Context(), "ask", map[string]any{"text": want},
					WithElicitation(func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
						asked.Done()
						asked.Wait() // all are being asked at once
						if r.Params.Message != want {
							t.Errorf("the caller of %q was asked %q", want, r.Params.Message)
						}
						return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"answer": r.Params.Message}}, nil
					}))
				if err != nil || text(t, res, err) != want {
					t.Errorf("asked %q, got %v (%v)", want, res, err)
				}
			})
		}
		wg.Wait()
		res, err := p.Call(t.Context(), "ask", map[string]any{"text": "x"})
		if err == nil && !res.IsError {
			t.Error("a call without a handler was answered")
		}
	})
}

func TestEveryFaultOfAConfigIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{
		Endpoint: "http://user:hunter2@localhost/", Min: 5, Max: 3, MaxSessions: 2, ToolsTTL: -5, ProtocolVersion: "1999",
		CallsPerSession: 5000, HTTP: HTTP{Client: &http.Client{Timeout: 1}},
	})
	var fields []string
	var walk func(error)
	walk = func(err error) {
		if j, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range j.Unwrap() {
				walk(e)
			}
			return
		}
		if e, ok := errors.AsType[*ConfigError](err); ok {
			fields = append(fields, e.Field)
		}
	}
	walk(err)
	want := "Endpoint HTTP.Client MaxSessions CallsPerSession Min ToolsTTL ProtocolVersion"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the error shows a password")
	}
	for _, cfg := range []Config{{}, {Endpoint: "http://localhost", Command: Command{Path: "x"}}, {Endpoint: "http://localhost", RetryMin: 5, RetryMax: 1}} {
		if _, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("taken: %+v", cfg)
		}
	}
}
