//go:build unix

package interop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// eachHTTP runs a test against each peer over Streamable HTTP, in each of its
// protocol versions, and over SSE. The tests run one after another, because they count.
func eachHTTP(t *testing.T, f func(t *testing.T, s *server, cfg mcpool.Config)) {
	t.Helper()
	for _, p := range []peer{peerTypeScript, peerPython} {
		for _, version := range p.versions {
			t.Run(strings.TrimSpace(p.name+" "+version), func(t *testing.T) {
				leavesNothing(t)
				s := p.listen(t, "http")
				f(t, s, mcpool.Config{Endpoint: s.url, ProtocolVersion: version})
			})
		}
		t.Run(p.name+" SSE", func(t *testing.T) {
			leavesNothing(t)
			s := p.listen(t, "sse")
			f(t, s, mcpool.Config{Endpoint: s.url, SSE: true})
		})
	}
}

// each runs a test against each peer over Streamable HTTP and stdio.
func each(t *testing.T, f func(t *testing.T, p peer, cfg mcpool.Config)) {
	t.Helper()
	eachHTTP(t, func(t *testing.T, s *server, cfg mcpool.Config) { f(t, s.peer, cfg) })
	for _, p := range []peer{peerTypeScript, peerPython} {
		t.Run(p.name+" stdio", func(t *testing.T) {
			leavesNothing(t)
			f(t, p, p.stdio(t))
		})
	}
}

func openPool(t *testing.T, cfg mcpool.Config) *mcpool.Pool {
	t.Helper()
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = time.Minute // interpreters start slowly on a busy machine
	}
	pool, err := mcpool.Open(limit(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := pool.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return pool
}

// limit is the context of what must not take for ever.
func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func echo(ctx context.Context, pool *mcpool.Pool, word string, opts ...mcpool.Option) error {
	res, err := pool.Call(ctx, "echo", map[string]any{"message": word}, opts...)
	if err == nil && text(res) != "Echo: "+word {
		err = fmt.Errorf("the answer to %q is %q", word, text(res))
	}
	return err
}

func text(res *mcp.CallToolResult) string {
	var b strings.Builder
	for _, c := range res.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			b.WriteString(t.Text)
		}
	}
	return b.String()
}

func TestEverythingThatAPeerOffersCanBeUsed(t *testing.T) {
	each(t, func(t *testing.T, p peer, cfg mcpool.Config) {
		pool := openPool(t, cfg)
		ctx := limit(t)
		var calls sync.WaitGroup
		for i := range 20 {
			calls.Go(func() {
				if err := echo(ctx, pool, fmt.Sprint("hello ", i)); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		tools, err := pool.ListTools(ctx)
		if err != nil || len(tools) < 3 {
			t.Errorf("%d tools, %v", len(tools), err)
		}
		prompts, err := pool.ListPrompts(ctx)
		if err != nil || len(prompts) == 0 {
			t.Errorf("prompts: %d, %v", len(prompts), err)
		}
		resources, err := pool.ListResources(ctx)
		if err != nil || len(resources) == 0 {
			t.Fatalf("resources: %d, %v", len(resources), err)
		}
		if res, err := pool.ReadResource(ctx, &mcp.ReadResourceParams{URI: resources[0].URI}); err != nil || len(res.Contents) == 0 {
			t.Errorf("reading %s: %v", resources[0].URI, err)
		}
		if templates, err := pool.ListResourceTemplates(ctx); err != nil || len(templates) == 0 {
			t.Errorf("templates: %d, %v", len(templates), err)
		}

		// What is told at the end of a call may come too late for it, and on a machine that
		// stands still all of it: then it is told again.
		var progress atomic.Int64
		poll(t, "progress", func() bool {
			if _, err := pool.Call(ctx, p.slow, map[string]any{"duration": 0.2, "steps": 4},
				mcpool.WithProgress(func(context.Context, *mcp.ProgressNotificationParams) { progress.Add(1) })); err != nil {
				t.Fatalf("%s: %v", p.slow, err)
			}
			return progress.Load() > 0
		})

		if cfg.ProtocolVersion >= "2026-07-28" && p.oldAsk {
			return
		}
		res, err := pool.Call(ctx, p.ask, nil, mcpool.WithElicitation(func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: p.answer}, nil
		}))
		if err != nil || !strings.Contains(text(res), p.answered) {
			t.Errorf("%s: %v, %v", p.ask, res, err)
		}
	})
}

func TestListsOfAPeerHaveAllTheirPages(t *testing.T) {
	pages := func(t *testing.T, cfg mcpool.Config) {
		t.Helper()
		pool, ctx := openPool(t, cfg), limit(t)
		err := pool.Do(ctx, func(ctx context.Context, s *mcpool.Session) error {
			res, err := s.ListTools(ctx, nil)
			if err == nil && (res.NextCursor == "" || len(res.Tools) != 2) {
				t.Errorf("the peer has %d tools on its first page, and then %q", len(res.Tools), res.NextCursor)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		tools, err := pool.ListTools(ctx)
		names := make([]string, len(tools))
		for i, tool := range tools {
			names[i] = tool.Name
		}
		expect(t, "tools", []string{"ask", "echo", "grow", "slow", "think", "touch"}, names, err)
		prompts, err := pool.ListPrompts(ctx)
		names = make([]string, len(prompts))
		for i, prompt := range prompts {
			names[i] = prompt.Name
		}
		expect(t, "prompts", []string{"greet", "part", "thank"}, names, err)
		resources, err := pool.ListResources(ctx)
		names = make([]string, len(resources))
		for i, resource := range resources {
			names[i] = resource.URI
		}
		expect(t, "resources", []string{"peer://another", "peer://fact", "peer://third"}, names, err)
		templates, err := pool.ListResourceTemplates(ctx)
		names = make([]string, len(templates))
		for i, template := range templates {
			names[i] = template.URITemplate
		}
		expect(t, "templates", []string{"peer://{name}/fact", "peer://{name}/fear", "peer://{name}/wish"}, names, err)
	}
	for _, version := range peerPython.versions {
		t.Run("Python "+version, func(t *testing.T) {
			leavesNothing(t)
			pages(t, mcpool.Config{Endpoint: peerPython.listen(t, "http").url, ProtocolVersion: version})
		})
	}
	t.Run("Python stdio", func(t *testing.T) {
		leavesNothing(t)
		pages(t, peerPython.stdio(t))
	})
}

// expect compares names without regard to their order.
func expect(t *testing.T, what string, want, got []string, err error) {
	t.Helper()
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q; %v", what, got, want, err)
	}
}

func TestACallThatIsCancelledLeavesItsSessionToOthers(t *testing.T) {
	each(t, func(t *testing.T, p peer, cfg mcpool.Config) {
		cfg.Max = 1
		pool := openPool(t, cfg)
		ctx, cancel := context.WithCancel(limit(t))
		defer cancel()
		// The first progress says that the call runs.
		_, err := pool.Call(ctx, p.slow, map[string]any{"duration": 600, "steps": 30000},
			mcpool.WithProgress(func(context.Context, *mcp.ProgressNotificationParams) { cancel() }))
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if err := echo(limit(t), pool, "after"); err != nil {
			t.Error(err)
		}
	})
}

// load calls a read-only tool from several goroutines until stop is closed, and tells
// how often. No call may fail.
func load(t *testing.T, pool *mcpool.Pool, stop <-chan struct{}, done *atomic.Int64) *sync.WaitGroup {
	t.Helper()
	ctx := limit(t)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := echo(ctx, pool, fmt.Sprint(i, ".", n), mcpool.WithReplay(mcpool.ReplayReadOnly)); err != nil {
					t.Errorf("call %d of caller %d: %v", n, i, err)
					return
				}
				done.Add(1)
			}
		})
	}
	return &callers
}

// more waits until there were some more calls.
func more(t *testing.T, done *atomic.Int64) {
	t.Helper()
	from := done.Load()
	poll(t, "calls to go on", func() bool { return t.Failed() || done.Load() >= from+50 })
}

func TestAServerThatIsKilledAndStartedAgainCostsNobodyACall(t *testing.T) {
	eachHTTP(t, func(t *testing.T, s *server, cfg mcpool.Config) {
		cfg.RestartGrace = time.Minute
		pool := openPool(t, cfg)
		stop := make(chan struct{})
		var done atomic.Int64
		callers := load(t, pool, stop, &done)
		for range 2 {
			more(t, &done)
			s.kill()
			s.start()
		}
		more(t, &done)
		close(stop)
		callers.Wait()
	})
}

func TestCommandsThatAreKilledCostNobodyACall(t *testing.T) {
	for _, p := range []peer{peerTypeScript, peerPython} {
		t.Run(p.name, func(t *testing.T) {
			leavesNothing(t)
			cfg := p.stdio(t)
			cfg.RestartGrace = time.Minute
			pool := openPool(t, cfg)
			stop := make(chan struct{})
			var done atomic.Int64
			callers := load(t, pool, stop, &done)
			for range 2 {
				more(t, &done)
				for _, pid := range childPIDs(t) {
					_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
				}
			}
			more(t, &done)
			close(stop)
			callers.Wait()
		})
	}
}

func TestAServerThatHangsHoldsNobodyLongerThanTheirDeadline(t *testing.T) {
	eachHTTP(t, func(t *testing.T, s *server, cfg mcpool.Config) {
		pool := openPool(t, cfg)
		if err := echo(limit(t), pool, "before"); err != nil {
			t.Fatal(err)
		}
		s.signal(syscall.SIGSTOP)
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(limit(t), 100*time.Millisecond)
				defer cancel()
				if err := echo(ctx, pool, "hung"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("in a call: got %v", err)
				}
			})
		}
		calls.Wait()
		hung := cfg
		hung.ConnectTimeout, hung.ConnectRetries = 200*time.Millisecond, mcpool.Off
		if late, err := mcpool.Open(limit(t), hung); err == nil {
			t.Error("a pool was opened on a server that hangs")
			_ = late.Close(limit(t))
		}
		s.signal(syscall.SIGCONT)
		poll(t, "calls to work again", func() bool { return echo(limit(t), pool, "after") == nil })
	})
}

func TestACommandThatHangsIsEndedWithThePool(t *testing.T) {
	for _, p := range []peer{peerTypeScript, peerPython} {
		t.Run(p.name, func(t *testing.T) {
			leavesNothing(t)
			cfg := p.stdio(t)
			cfg.Min, cfg.Max = 1, 1
			pool := openPool(t, cfg)
			if err := echo(limit(t), pool, "before"); err != nil {
				t.Fatal(err)
			}
			for _, pid := range childPIDs(t) {
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(limit(t), 100*time.Millisecond)
			defer cancel()
			if err := echo(ctx, pool, "hung"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}
