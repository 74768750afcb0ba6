package mcpool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// offerRegional adds tools whose argument has to be in a header as well, from
// 2026-07-28 on: the server refuses a call without it.
func (s *server) offerRegional(names ...string) {
	s.mu.Lock()
	m := s.mcp
	s.mu.Unlock()
	for _, name := range names {
		m.AddTool(&mcp.Tool{Name: name, InputSchema: map[string]any{
			"type": "object", "required": []string{"region"},
			"properties": map[string]any{"region": map[string]any{"type": "string", "x-mcp-header": "Region"}},
		}}, func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: r.Extra.Header.Get("Mcp-Param-Region")}}}, nil
		})
	}
}

func TestArgumentsMarkedAsHeadersAreOnTheWireOfEverySession(t *testing.T) {
	t.Parallel()
	s := newServer(t, modernEra)
	s.offerRegional("regional")
	p := s.open(func(c *Config) { c.NoListener = true })
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			want := fmt.Sprintf("r%d", i)
			res, err := p.Call(t.Context(), "regional", map[string]any{"region": want}, WithIdentity(identityNamed(fmt.Sprint(i%3))))
			if err != nil || text(t, res, err) != want {
				t.Errorf("asked for %s, got %v (%v)", want, res, err)
			}
		})
	}
	wg.Wait()
	calls := 0
	for _, r := range s.seen() {
		if r.header.Get("Mcp-Param-Region") != "" {
			calls++
		}
	}
	if calls != 12 {
		t.Errorf("%d requests had the header, want 12", calls)
	}
}

// TestAToolThatAppearsCanBeCalled has tools added behind the back of sessions that
// have listed them before.
func TestAToolThatAppearsCanBeCalled(t *testing.T) {
	t.Parallel()
	s := newServer(t, modernEra)
	s.offerRegional("regional")
	p := s.open(func(c *Config) { c.NoListener = true })
	for i := range 20 {
		name := fmt.Sprintf("later%d", i)
		s.offerRegional(name)
		if i%2 == 0 { // else nobody knows that there is something new
			p.InvalidateTools()
			if tools, err := p.ListTools(t.Context()); err != nil || !names(tools)[name] {
				t.Fatalf("%s is not listed (%v)", name, err)
			}
		}
		replays := p.Stats().Replays
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				res, err := p.Call(t.Context(), name, map[string]any{"region": "x"})
				if err != nil || text(t, res, err) != "x" {
					t.Errorf("%s: %v, %v", name, res, err)
				}
			})
		}
		wg.Wait()
		if n := p.Stats().Replays; i > 0 && i%2 == 0 && n != replays {
			t.Errorf("%s was in the list, and %d calls had to be repeated", name, n-replays)
		}
	}
}

func TestAServerThatAlwaysMissesAHeaderIsAskedTwice(t *testing.T) {
	t.Parallel()
	s := newServer(t, modernEra)
	p := s.open(nil)
	var asked atomic.Int32
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Call") == "" {
			return false
		}
		asked.Add(1)
		var msg struct {
			ID json.RawMessage `json:"id"`
		}
		_ = json.NewDecoder(r.Body).Decode(&msg)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"header mismatch"}}`, msg.ID, mcp.CodeHeaderMismatch)
		return true
	})
	var rpc *jsonrpc.Error
	_, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Call", "1"))
	if !errors.As(err, &rpc) || rpc.Code != mcp.CodeHeaderMismatch || asked.Load() != 2 {
		t.Errorf("asked %d times, got %v", asked.Load(), err)
	}
	l, err := p.Acquire(t.Context(), WithHeader("X-Call", "1"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if _, err := l.CallTool(t.Context(), callNamed("echo")); !errors.As(err, &rpc) || asked.Load() != 3 {
		t.Errorf("on a lease: asked %d times, got %v", asked.Load(), err)
	}
}

func TestASessionThatCannotListToolsIsNotLent(t *testing.T) {
	t.Parallel()
	s := newServer(t, modernEra)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Mcp-Method") != "tools/list" {
			return false
		}
		http.Error(w, "no", http.StatusInternalServerError)
		return true
	})
	_, err := Open(t.Context(), Config{Endpoint: s.url(), ConnectRetries: Off})
	if !isStatus(500)(err) {
		t.Errorf("got %v", err)
	}
}
