//go:build unix

//nolint:staticcheck // sampling is deprecated, and still spoken
package interop

//lint:file-ignore SA1019 sampling is deprecated, and still spoken

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

func TestAPeerAsksTheCallerThatCalled(t *testing.T) {
	each(t, func(t *testing.T, p peer, cfg mcpool.Config) {
		if cfg.ProtocolVersion >= "2026-07-28" && p.oldAsk {
			t.Skip("this server asks nothing in that version")
		}
		pool := openPool(t, cfg)
		ctx := limit(t)
		var callers sync.WaitGroup
		for i := range 4 {
			word := fmt.Sprint("caller-", i)
			callers.Go(func() {
				res, err := pool.Call(ctx, p.think, map[string]any{"prompt": word},
					mcpool.WithSampling(func(_ context.Context, r *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
						asked, ok := r.Params.Messages[0].Content.(*mcp.TextContent)
						if !ok || !strings.HasSuffix(asked.Text, word) {
							t.Errorf("%s was asked %+v", word, r.Params.Messages[0].Content)
						}
						return &mcp.CreateMessageResult{Role: "assistant", Model: "none", Content: &mcp.TextContent{Text: "answer of " + word}}, nil
					}))
				if err != nil || res.IsError || !strings.Contains(text(res), "answer of "+word) {
					t.Errorf("%s: %+v, %v", p.think, res, err)
				}
			})
			callers.Go(func() {
				res, err := pool.Call(ctx, p.ask, nil, mcpool.WithElicitation(func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": word}}, nil
				}))
				if err != nil || res.IsError || !strings.Contains(text(res), word) {
					t.Errorf("%s: %+v, %v", p.ask, res, err)
				}
			})
		}
		callers.Wait()
	})
}

// hear returns what a subscription tells, and the function to tell it.
func hear() (updates chan mcpool.ResourceUpdate, tell mcpool.UpdateFunc) {
	updates = make(chan mcpool.ResourceUpdate)
	return updates, func(ctx context.Context, u mcpool.ResourceUpdate) {
		select {
		case updates <- u:
		case <-ctx.Done():
		}
	}
}

// told waits for an update of a resource.
func told(t *testing.T, updates <-chan mcpool.ResourceUpdate, uri string) {
	t.Helper()
	select {
	case u := <-updates:
		if u != (mcpool.ResourceUpdate{URI: uri}) {
			t.Errorf("told %+v", u)
		}
	case <-limit(t).Done():
		t.Error("told nothing")
	}
}

func TestASessionHearsOfAResourceOfTheReferenceServer(t *testing.T) {
	try := func(t *testing.T, cfg mcpool.Config) {
		pool := openPool(t, cfg)
		ctx := limit(t)
		updates, tell := hear()
		if err := pool.Do(ctx, func(ctx context.Context, s *mcpool.Session) error {
			const uri = "demo://resource/dynamic/text/1"
			if err := s.Subscribe(ctx, &mcp.SubscribeParams{URI: uri}); err != nil {
				return err
			}
			// It tells at once, and then every five seconds, of its own session alone.
			if _, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "toggle-subscriber-updates"}); err != nil {
				return err
			}
			told(t, updates, uri)
			return s.Unsubscribe(ctx, &mcp.UnsubscribeParams{URI: uri})
		}, mcpool.WithResourceUpdates(tell)); err != nil {
			t.Error(err)
		}
	}
	t.Run("http", func(t *testing.T) {
		leavesNothing(t)
		try(t, mcpool.Config{Endpoint: peerTypeScript.listen(t, "http").url})
	})
	t.Run("SSE", func(t *testing.T) {
		leavesNothing(t)
		try(t, mcpool.Config{Endpoint: peerTypeScript.listen(t, "sse").url, SSE: true})
	})
	t.Run("stdio", func(t *testing.T) {
		leavesNothing(t)
		try(t, peerTypeScript.stdio(t))
	})
}

func TestAPoolSubscribesAtTheReferenceServer(t *testing.T) {
	leavesNothing(t)
	pool := openPool(t, mcpool.Config{Endpoint: peerTypeScript.listen(t, "http").url})
	_, tell := hear()
	sub, err := pool.Subscribe(limit(t), "demo://resource/dynamic/text/1", tell)
	if err != nil {
		t.Fatal(err)
	}
	sub.Close()
}

func TestAPoolHearsOfAResourceOfThePythonSDK(t *testing.T) {
	leavesNothing(t)
	s := peerPython.listen(t, "http")
	pool := openPool(t, mcpool.Config{Endpoint: s.url, ProtocolVersion: "2026-07-28"})
	ctx := limit(t)
	updates, tell := hear()
	if _, err := pool.Subscribe(ctx, "peer://fact", tell); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := pool.Call(ctx, "touch", map[string]any{"uri": "peer://fact"}); err != nil {
			t.Fatal(err)
		}
		told(t, updates, "peer://fact")
	}
}

func TestAChangeOfToolsOfThePythonSDKIsTold(t *testing.T) {
	try := func(t *testing.T, cfg mcpool.Config) {
		changes := make(chan mcpool.SchemaChange, 10)
		cfg.OnSchemaChanged = func(c mcpool.SchemaChange) { changes <- c }
		if cfg.Endpoint == "" {
			cfg.Max = 1 // each process has tools of its own
		}
		pool := openPool(t, cfg)
		ctx := limit(t)
		poll(t, "the tools to be known", func() bool { return pool.Stats().SchemaHash != "" })
		if _, err := pool.Call(ctx, "grow", map[string]any{"name": "grown"}); err != nil {
			t.Fatal(err)
		}
		select {
		case c := <-changes:
			if !slices.Equal(c.Added, []string{"grown"}) || len(c.Removed)+len(c.Changed) != 0 {
				t.Errorf("told %+v", c)
			}
		case <-ctx.Done():
			t.Fatal("told nothing")
		}
		if res, err := pool.Call(ctx, "grown", nil); err != nil || text(res) != "grown" {
			t.Errorf("%v, %v", res, err)
		}
	}
	t.Run("http", func(t *testing.T) {
		leavesNothing(t)
		try(t, mcpool.Config{Endpoint: peerPython.listen(t, "http").url, ProtocolVersion: "2026-07-28"})
	})
	t.Run("stdio", func(t *testing.T) {
		leavesNothing(t)
		try(t, peerPython.stdio(t))
	})
}
