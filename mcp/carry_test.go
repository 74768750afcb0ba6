package mcpool

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestWhatIsCarriedReachesTheServerInHeadersAndMeta(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		var mu sync.Mutex
		metas := make(map[string][]mcp.Meta) // by method
		s.mcp.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if p := req.GetParams(); p != nil {
					mu.Lock()
					metas[method] = append(metas[method], p.GetMeta())
					mu.Unlock()
				}
				return next(ctx, method, req)
			}
		})
		type key struct{}
		p := s.open(func(c *Config) {
			c.Hooks.CallStart = func(ctx context.Context, e CallStart) context.Context {
				return context.WithValue(ctx, key{}, "for "+e.Method)
			}
			c.Hooks.Carry = func(ctx context.Context, set func(name, value string)) {
				if v, ok := ctx.Value(key{}).(string); ok {
					set("traceparent", v)
				}
				set("theirs", "ours")
				set("authorization", "Bearer stolen") // no identity is formed here
				set("Mcp-Session-Id", "forged")
			}
		})
		params := &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "x"}, Meta: mcp.Meta{"theirs": "kept"}}
		if _, err := p.CallTool(t.Context(), params, WithHeader("Theirs", "kept too")); err != nil {
			t.Fatal(err)
		}
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(params.Meta) != 1 {
			t.Errorf("the caller's params were written to: %v", params.Meta)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, method := range []string{"tools/call", "tools/list"} {
			if !slices.ContainsFunc(metas[method], func(m mcp.Meta) bool { return m["traceparent"] == "for "+method }) {
				t.Errorf("%s: no traceparent in %v", method, metas[method])
			}
		}
		if m := metas["tools/call"][0]; m["theirs"] != "kept" {
			t.Errorf("the caller's own value became %v", m["theirs"])
		}
		found := false
		for _, r := range s.seen() {
			if r.header.Get("Authorization") != "" || r.header.Get("Mcp-Session-Id") == "forged" {
				t.Errorf("a header was sent that may not be set: %v", r.header)
			}
			if r.method == http.MethodPost && r.header.Get("Traceparent") == "for tools/call" {
				found = true
				if r.header.Get("Theirs") != "kept too" {
					t.Errorf("the caller's own header became %q", r.header.Get("Theirs"))
				}
			}
		}
		if !found {
			t.Error("no request had the header")
		}
	})
}

func TestHooksKnowWhetherAToolIsListedAndHasFailed(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		var ends []CallEnd
		p := s.open(func(c *Config) {
			c.NoListener = true // it would have the list fetched again, at any time
			c.Hooks.CallEnd = func(_ context.Context, e CallEnd) {
				if e.Method == methodCallTool {
					ends = append(ends, e)
				}
			}
		})
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"echo", "fail", "made up by a caller"} {
			_, _ = p.Call(t.Context(), name, map[string]any{"text": "x"})
		}
		if len(ends) != 3 {
			t.Fatalf("%d calls seen, want 3", len(ends))
		}
		for i, want := range []struct{ listed, failed bool }{{true, false}, {true, true}, {false, false}} {
			if got := ends[i]; got.Listed != want.listed || got.ToolFailed != want.failed || got.Transport != "http" || got.Protocol == "" {
				t.Errorf("%s: %+v, want %+v", got.Tool, got, want)
			}
		}
	})
}

func TestAToolIsListedThoughTheListChangedWhileItWasFetched(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		var listed atomic.Int32
		p := s.open(func(c *Config) {
			c.NoListener = true
			c.Min, c.Max = 1, 1
			c.Hooks.CallStart = func(ctx context.Context, e CallStart) context.Context {
				if e.Method == methodCallTool && e.Listed {
					listed.Add(1)
				}
				return ctx
			}
		})
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		s.intercept(func(http.ResponseWriter, *http.Request) bool {
			once.Do(p.InvalidateTools)
			return false
		})
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Call(t.Context(), "echo", map[string]any{"text": "x"}); err != nil {
			t.Fatal(err)
		}
		if listed.Load() != 1 {
			t.Error("the tool that was just listed is not known to be")
		}
		// The list as such has to be fetched again all the same.
		if _, err := p.ListTools(t.Context()); err != nil || p.Stats().ListFetches != 2 {
			t.Errorf("fetched %d times (%v), want 2", p.Stats().ListFetches, err)
		}
	})
}

func TestAnOlderListDoesNotTakeThePlaceOfAYoungerOne(t *testing.T) {
	t.Parallel()
	p := newServer(t, oldEra).open(nil)
	l := list[string]{id: p.def}
	older := l.mark()
	l.invalidate()
	younger := l.mark()
	l.invalidate()
	l.put([]string{"younger"}, younger)
	l.put([]string{"older"}, older)
	if got := l.last(); !slices.Equal(got, []string{"younger"}) {
		t.Errorf("last %v", got)
	}
	if _, ok := l.peek(); ok {
		t.Error("a list that was invalidated since may be used")
	}
	now := l.mark()
	l.put([]string{"now"}, now)
	l.put([]string{"younger"}, younger)
	if got, ok := l.peek(); !ok || !slices.Equal(got, []string{"now"}) {
		t.Errorf("peek %v, %v", got, ok)
	}
}

func TestJoinedHooksAreAllCalledEvenIfOnePanics(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	var got []string
	type key struct{}
	one := func(name string) Hooks {
		return Hooks{
			CallStart: func(ctx context.Context, _ CallStart) context.Context {
				before, _ := ctx.Value(key{}).(string)
				return context.WithValue(ctx, key{}, before+name)
			},
			CallEnd: func(ctx context.Context, _ CallEnd) {
				seen, _ := ctx.Value(key{}).(string)
				got = append(got, name+" of "+seen)
				if name == "b" {
					panic("b")
				}
			},
			Carry: func(_ context.Context, set func(name, value string)) {
				set("x-"+name, "1")
				if name == "a" {
					panic("a")
				}
			},
		}
	}
	p := s.open(func(c *Config) { c.Hooks = JoinHooks(one("a"), Hooks{}, one("b")) })
	if _, err := p.Call(t.Context(), "echo", map[string]any{"text": "x"}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"b of ab", "a of ab"}; !slices.Equal(got, want) {
		t.Errorf("ends %v, want %v", got, want)
	}
	carried := false
	for _, r := range s.seen() {
		carried = carried || r.header.Get("X-A") == "1" && r.header.Get("X-B") == "1"
	}
	if !carried {
		t.Error("what both carry did not arrive")
	}
}
