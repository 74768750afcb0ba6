package mcpool_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// A server in this process, for tests and for tools of one's own.
func ExampleInMemory() {
	ctx := context.Background()

	pool, err := mcpool.Open(ctx, mcpool.Config{Transport: mcpool.InMemory(newServer())})
	check(err)
	defer pool.Close(ctx)

	res, err := pool.Call(ctx, "search", map[string]any{"query": "gophers"})
	check(err)
	fmt.Println(mcpool.ResultText(res))
	// Output: 3 results for gophers
}

// serverCommand is this test's own program, as a server on stdio.
func serverCommand() (path string, env []string) {
	return os.Args[0], append(os.Environ(), "MCPOOL_TEST_CHILD=serve")
}

// Servers that are commands: each session is a process, started ahead and started
// again when it dies.
func ExampleCommand() {
	path, env := serverCommand()
	ctx := context.Background()

	pool, err := mcpool.Open(ctx, mcpool.Config{
		Command: mcpool.Command{Path: path, Env: env},
		Min:     2, Max: 4,
	})
	if err != nil {
		fmt.Println(err) // with the last lines that the process wrote to stderr
		return
	}
	defer pool.Close(ctx)

	tools, err := pool.ListTools(ctx)
	check(err)
	fmt.Println(len(tools) > 0, pool.Stats().Transport)
	// Output: true stdio
}

// For Kubernetes: ready once Min sessions have been open, and in degraded mode too,
// because calls still work.
func ExamplePool_Ready() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint, Lazy: true, Degrade: true})
	check(err)
	defer pool.Close(ctx)

	ready := func(w http.ResponseWriter, _ *http.Request) {
		if !pool.Ready() && !pool.Degraded() {
			http.Error(w, "no MCP sessions yet", http.StatusServiceUnavailable)
		}
	}
	check(pool.WaitReady(ctx))
	answer := httptest.NewRecorder()
	ready(answer, nil)
	fmt.Println(answer.Code)
	// Output: 200
}

// A server whose Close is called when the process is told to stop: what is under
// way may end.
func ExamplePool_Close() {
	endpoint, stop := serve()
	defer stop()
	pool, err := mcpool.Open(context.Background(), mcpool.Config{Endpoint: endpoint})
	check(err)

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := pool.Close(ctx); err != nil {
		fmt.Println("some calls were cut off:", err)
	}
	_, err = pool.Call(ctx, "count", nil)
	fmt.Println(errors.Is(err, mcpool.ErrClosed))
	// Output: true
}

// What to look at when callers wait.
func ExamplePool_Stats() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	check(err)
	defer pool.Close(ctx)
	_, err = pool.Call(ctx, "count", nil)
	check(err)

	// snippet:begin stats
	before := pool.Stats()
	_, err = pool.Call(ctx, "count", nil)
	check(err)
	now := pool.Stats()

	acquired := now.Sessions.Acquired - before.Sessions.Acquired
	waited := now.Sessions.Waits - before.Sessions.Waits
	fmt.Println(acquired, "acquired,", waited, "had to wait, circuit", now.Sessions.Circuit)
	if waited > 0 {
		fmt.Println("on average", (now.Sessions.WaitTime-before.Sessions.WaitTime)/time.Duration(waited))
	}
	// snippet:end stats

	// Output: 1 acquired, 0 had to wait, circuit closed
}

// Limits can be moved while calls run.
func ExamplePool_Resize() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	check(err)
	defer pool.Close(ctx)

	check(pool.Resize(ctx, 4, 20))
	check(pool.WaitReady(ctx))
	fmt.Println(pool.Stats().Sessions.Max)
	// Output: 20
}
