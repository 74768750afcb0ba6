package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// demonstrate shows everything against a server of its own.
func demonstrate(ctx context.Context, out show, o options, r *report) error {
	server, err := startServer(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { server.kill() }()
	endpoint := "http://" + server.addr + "/old"
	out.printf("A real MCP server runs on %s. %d callers, %d sessions.\n\n", server.addr, callers, sessions)

	if err := figuresOf(ctx, out, o, endpoint, r); err != nil {
		return err
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint, Max: sessions, Replay: mcpool.ReplayReadOnly, RestartGrace: time.Minute, Auth: tokens()})
	if err != nil {
		return err
	}
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything was looked at before
	steps := []struct {
		name string
		do   func() (string, error)
	}{
		{"a header of one call arrives with it", func() (string, error) { return headers(ctx, pool, r) }},
		{"an affinity key keeps a counter", func() (string, error) { return affinity(ctx, pool, r) }},
		{"two identities are kept apart", func() (string, error) { return identities(ctx, pool, r) }},
		{"the server is killed and restarted under load", func() (string, error) { return restart(ctx, pool, &server, r) }},
		{"a new tool is announced", func() (string, error) { return schema(ctx, endpoint, r) }},
	}
	for _, step := range steps {
		result, err := step.do()
		if err != nil {
			r.Problems = append(r.Problems, step.name+": "+err.Error())
			result = "FAILED: " + err.Error()
		}
		out.printf("%-46s %s\n", step.name, result)
	}
	st := pool.Stats()
	out.printf("\n%d calls, %d repeated; %d sessions opened, %d live; protocol %s; %d identities\n",
		st.Calls, st.Replays, st.Sessions.Opened, st.Sessions.Live, st.Protocol, st.Identities)
	return nil
}

// tokens gives every identity a token of its own.
func tokens() auth.Provider {
	return mcpool.TokenFunc(func(_ context.Context, id auth.Identity) (auth.Secret, error) {
		return auth.NewSecret("token-of-" + id.ID), nil
	})
}

// slower is the one problem that a machine with other work to do can cause.
const slower = "pooling was slower than not pooling"

// figuresOf measures the ways of calling and prints the table.
func figuresOf(ctx context.Context, out show, o options, endpoint string, r *report) error {
	modern := strings.Replace(endpoint, "/old", "/modern", 1)
	perCall := func(endpoint string) *figures {
		f := measure(ctx, callers, o.each, func(ctx context.Context) error { return connectAndCall(ctx, endpoint) })
		f.Opened = uint64(f.calls) //nolint:gosec // a count
		return f
	}
	r.Echo.PerCall, r.Modern.PerCall = perCall(endpoint), perCall(modern)
	err := errors.Join(r.Echo.PerCall.failed, r.Modern.PerCall.failed)
	pooled := func(tool, endpoint string, exclusive bool) *figures {
		f, failed := measurePool(ctx, o.each, mcpool.Config{Endpoint: endpoint, Max: sessions}, tool, map[string]any{"text": "hi"}, exclusive)
		if failed != nil && err == nil {
			err = failed
		}
		return f
	}
	r.Echo.Exclusive, r.Echo.Shared = pooled("echo", endpoint, true), pooled("echo", endpoint, false)
	r.Slow.Exclusive, r.Slow.Shared = pooled("slow", endpoint, true), pooled("slow", endpoint, false)
	r.Modern.Shared = pooled("echo", modern, false)
	if err != nil {
		return err
	}
	if r.Echo.Shared.CallsPerS < r.Echo.PerCall.CallsPerS || r.Slow.Shared.CallsPerS < r.Slow.Exclusive.CallsPerS {
		r.Problems = append(r.Problems, slower)
	}
	if out.w == nil {
		return nil
	}
	table := tabwriter.NewWriter(out.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tcalls/s\t\tp50 ms\tp99 ms\tsessions opened\t")
	row := func(name string, f, than *figures) {
		times := ""
		if f != than {
			times = fmt.Sprintf("× %.1f", f.CallsPerS/than.CallsPerS)
		}
		fmt.Fprintf(table, "%s\t%.0f\t%s\t%.2f\t%.2f\t%d\t\n", name, f.CallsPerS, times, f.P50, f.P99, f.Opened)
	}
	row("echo, a connection per call", r.Echo.PerCall, r.Echo.PerCall)
	row("echo, pooled, exclusive sessions", r.Echo.Exclusive, r.Echo.PerCall)
	row("echo, pooled, shared sessions", r.Echo.Shared, r.Echo.PerCall)
	row("2026-07-28: echo, a connection per call", r.Modern.PerCall, r.Modern.PerCall)
	row("2026-07-28: echo, pooled, shared", r.Modern.Shared, r.Modern.PerCall)
	row("50 ms tool, pooled, exclusive sessions", r.Slow.Exclusive, r.Slow.Exclusive)
	row("50 ms tool, pooled, shared sessions", r.Slow.Shared, r.Slow.Exclusive)
	if err := table.Flush(); err != nil {
		return err
	}
	out.printf("\n")
	return nil
}

// connectAndCall is life without a pool, as the SDK's examples show it, with its
// defaults: connect, which negotiates the protocol version, list the tools, call
// one, close.
func connectAndCall(ctx context.Context, endpoint string) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "quickstart", Version: "1"}, nil)
	s, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint}, nil)
	if err != nil {
		return err
	}
	if _, err = s.ListTools(ctx, nil); err == nil {
		_, err = s.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "hi"}})
	}
	if closed := s.Close(); err == nil {
		err = closed
	}
	return err
}

// measurePool measures calls through a pool.
func measurePool(ctx context.Context, each time.Duration, cfg mcpool.Config, tool string, args any, exclusive bool) (*figures, error) {
	cfg.AcquireTimeout = time.Minute
	pool, err := mcpool.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the figures are all that is wanted
	var opts []mcpool.Option
	if exclusive {
		opts = append(opts, mcpool.WithExclusive())
	}
	f := measure(ctx, callers, each, func(ctx context.Context) error {
		res, err := pool.Call(ctx, tool, args, opts...)
		if err == nil && res.IsError {
			err = fmt.Errorf("%s: %s", tool, textOf(res))
		}
		return err
	})
	f.Opened = pool.Stats().Sessions.Opened
	return f, f.failed
}

func headers(ctx context.Context, pool *mcpool.Pool, r *report) (string, error) {
	with, err := pool.Call(ctx, "header", map[string]any{"text": "X-Tenant"}, mcpool.WithHeader("X-Tenant", "blue"))
	if err != nil {
		return "", err
	}
	without, err := pool.Call(ctx, "header", map[string]any{"text": "X-Tenant"})
	if err != nil {
		return "", err
	}
	r.Header = textOf(with) == "blue" && textOf(without) == ""
	if !r.Header {
		return "", fmt.Errorf("with it %q arrived, without it %q", textOf(with), textOf(without))
	}
	return `"blue" with it, nothing with the next`, nil
}

func affinity(ctx context.Context, pool *mcpool.Pool, r *report) (string, error) {
	var got []string
	for range 4 {
		res, err := pool.Call(ctx, "counter", nil, mcpool.WithPin("cart-17"))
		if err != nil {
			return "", err
		}
		got = append(got, textOf(res))
	}
	r.Affinity = strings.Join(got, " ") == "1 2 3 4"
	if !r.Affinity {
		return "", fmt.Errorf("it counted %v", got)
	}
	return "it counted " + strings.Join(got, " "), nil
}

func identities(ctx context.Context, pool *mcpool.Pool, r *report) (string, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	owners := make(map[string]string) // of sessions
	var failed error
	for i := range callers {
		wg.Go(func() {
			name := []string{"alice", "bob"}[i%2]
			for range 10 {
				res, err := pool.Call(ctx, "whoami", nil, mcpool.WithIdentity(auth.Identity{ID: name}))
				mu.Lock()
				if err != nil {
					failed = err
					mu.Unlock()
					return
				}
				who, session, _ := strings.Cut(strings.TrimPrefix(textOf(res), "Bearer token-of-"), " ")
				r.Identities.Calls++
				if owner, known := owners[session]; who != name || known && owner != name {
					r.Identities.Crossed++
				}
				owners[session] = name
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed == nil && r.Identities.Crossed > 0 {
		failed = fmt.Errorf("%d of %d calls crossed", r.Identities.Crossed, r.Identities.Calls)
	}
	return fmt.Sprintf("%d calls on %d sessions, %d crossed", r.Identities.Calls, len(owners), r.Identities.Crossed), failed
}

func restart(ctx context.Context, pool *mcpool.Pool, server **serverProcess, r *report) (string, error) {
	var calls, failed atomic.Int64
	var last atomic.Value
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				call, cancel := context.WithTimeout(ctx, time.Minute)
				_, err := pool.Call(call, "echo", map[string]any{"text": "hi"})
				cancel()
				calls.Add(1)
				if err != nil {
					failed.Add(1)
					last.Store(err.Error())
				}
			}
		})
	}
	pause(ctx, 500*time.Millisecond)
	addr := (*server).addr
	(*server).kill()
	down := time.Now()
	pause(ctx, 500*time.Millisecond)
	next, err := startServer(ctx, addr)
	took := time.Since(down)
	if err == nil {
		*server = next
		pause(ctx, time.Second)
	}
	close(stop)
	wg.Wait()
	r.Restart.Calls, r.Restart.Failed = int(calls.Load()), int(failed.Load())
	if err == nil && r.Restart.Failed > 0 {
		err = fmt.Errorf("%d of %d calls failed: %v", r.Restart.Failed, r.Restart.Calls, last.Load())
	}
	return fmt.Sprintf("away for %v, %d calls, %d failed", took.Round(10*time.Millisecond), r.Restart.Calls, r.Restart.Failed), err
}

func schema(ctx context.Context, endpoint string, r *report) (string, error) {
	changes := make(chan mcpool.SchemaChange, 8)
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint, OnSchemaChanged: func(c mcpool.SchemaChange) { changes <- c }})
	if err != nil {
		return "", err
	}
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the change is all that is wanted
	if _, err := pool.ListTools(ctx); err != nil {
		return "", err
	}
	pause(ctx, 500*time.Millisecond) // the listener opens beside us
	if _, err := pool.Call(ctx, "learn", map[string]any{"text": "sing"}); err != nil {
		return "", err
	}
	select {
	case c := <-changes:
		r.Schema = len(c.Added) == 1 && c.Added[0] == "sing"
		if !r.Schema {
			return "", fmt.Errorf("got %+v", c)
		}
		return fmt.Sprintf("added %v, schema hash %.8s → %.8s", c.Added, c.Old, c.New), nil
	case <-time.After(30 * time.Second):
		return "", fmt.Errorf("nothing was heard of it")
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func textOf(res *mcp.CallToolResult) string {
	for _, c := range res.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			return t.Text
		}
	}
	return ""
}
