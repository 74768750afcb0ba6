package mcpool

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// slowLists is a server in memory whose lists take a second, and fail if broken
// is set. Its sessions announce nothing.
func slowLists(broken *atomic.Bool) *mcp.Server {
	m := memoryServer()
	m.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method == "tools/list" {
				time.Sleep(time.Second)
				if broken.Load() {
					return nil, errors.New("out of order")
				}
			}
			return next(ctx, method, req)
		}
	})
	return m
}

func addNamed(m *mcp.Server, name string) {
	mcp.AddTool(m, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, nil
	})
}

func TestAStaleListIsServedWhileItIsFetchedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		m := slowLists(&broken)
		p, err := Open(t.Context(), Config{Transport: InMemory(m), StaleLists: true, ToolsTTL: time.Minute, NoListener: true})
		if err != nil {
			t.Fatal(err)
		}
		list := func(wait time.Duration, want string, there bool) {
			t.Helper()
			began := time.Now()
			tools, err := p.ListTools(t.Context())
			if err != nil || names(tools)[want] != there {
				t.Errorf("%d tools, %s there: %v (%v)", len(tools), want, names(tools)[want], err)
			}
			if took := time.Since(began); took != wait {
				t.Errorf("took %v, want %v", took, wait)
			}
		}
		list(time.Second, "sleep", true) // there is none that could be stale
		addNamed(m, "added")
		time.Sleep(2 * time.Minute)
		list(0, "added", false)
		list(0, "added", false)
		time.Sleep(2 * time.Second)
		list(0, "added", true)
		if n := p.Stats().ListFetches; n != 2 {
			t.Errorf("fetched %d times, want 2", n)
		}
		// A fetch that fails leaves the stale list in place.
		broken.Store(true)
		time.Sleep(2 * time.Minute)
		list(0, "added", true)
		time.Sleep(2 * time.Second)
		list(0, "added", true)
		time.Sleep(2 * time.Second)
		broken.Store(false)
		// One that was invalidated is never served, however fresh.
		p.InvalidateTools()
		list(time.Second, "added", true)
		p.InvalidateTools()
		time.Sleep(2 * time.Minute)
		list(time.Second, "added", true)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAListPastItsTimeIsWaitedForUnlessStaleOnesAreAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		m := slowLists(&broken)
		p, err := Open(t.Context(), Config{Transport: InMemory(m), ToolsTTL: time.Minute, NoListener: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		addNamed(m, "added")
		time.Sleep(2 * time.Minute)
		if tools, err := p.ListTools(t.Context()); err != nil || !names(tools)["added"] {
			t.Errorf("got %v (%v)", names(tools), err)
		}
		broken.Store(true)
		time.Sleep(2 * time.Minute)
		if _, err := p.ListTools(t.Context()); err == nil {
			t.Error("an old list was served")
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
