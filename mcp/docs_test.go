package mcpool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// The functions of this file are shown in docs/deployment.md, docs/tuning.md and
// docs/from-mcp-pool.md. They are compiled, and not run: they need servers.

func Example_loadBalancer() {
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{
		Endpoint: "https://tools.internal/mcp",
		// New replicas get their share of sessions at the latest after this time.
		MaxLifetime: 10 * time.Minute,
		// Calls wait this long for a replica that takes over.
		RestartGrace: 20 * time.Second,
		// Calls of read-only and idempotent tools that were cut off are sent again.
		Replay: mcpool.ReplayReadOnly,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
}

// gateway serves tenants of its own from one pool.
type gateway struct{ pool *mcpool.Pool }

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tenant, ok := authenticated(r) // yours
	if !ok {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	// snippet:begin gateway
	res, err := g.pool.Call(r.Context(), "search", map[string]any{"query": r.FormValue("q")},
		mcpool.WithIdentity(auth.Identity{ID: tenant}),                  // sessions, lists and credentials of its own
		mcpool.WithHeader("X-Request-ID", r.Header.Get("X-Request-ID")), // on this call alone
		mcpool.WithAffinity(r.FormValue("conversation")))                // back to the session it had, if it is there
	var throttled *mcpool.ThrottledError
	var refused *mcpool.AuthError
	switch {
	case errors.As(err, &throttled):
		w.Header().Set("Retry-After", fmt.Sprint(int(throttled.RetryAfter.Seconds())))
		http.Error(w, "try again later", http.StatusTooManyRequests)
	case errors.As(err, &refused):
		http.Error(w, "the tool server refuses you", http.StatusForbidden)
	case errors.Is(err, mcpool.ErrMayHaveRun):
		http.Error(w, "it may have been done", http.StatusBadGateway)
	case err != nil:
		http.Error(w, "it was not done", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, mcpool.ResultText(res))
	}
	// snippet:end gateway
}

func authenticated(*http.Request) (tenant string, ok bool) { return "", false }

func Example_gateway() { http.Handle("/search", &gateway{}) }

func Example_stdioFleet() {
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{
		Command: mcpool.Command{
			Path: "uvx", Args: []string{"mcp-server-git", "--repository", "/srv/repo"},
			Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=/var/empty"}, // and nothing else of ours
		},
		Min: 4, Max: 16, // processes; each runs one call at a time
		ConnectTimeout: 30 * time.Second, // the first start may download things
		MaxLifetime:    4 * time.Hour,    // for servers that leak
	})
	if err != nil {
		log.Fatal(err) // with the last lines that the process wrote to stderr
	}
	defer pool.Close(ctx)
}

func Example_kubernetes() {
	pool, err := mcpool.Open(context.Background(), mcpool.Config{
		Endpoint: "https://tools.internal/mcp",
		Lazy:     true, // come up without the server, and say so
		Degrade:  true, // serve calls while Min sessions cannot be kept
	})
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !pool.Ready() && !pool.Degraded() {
			http.Error(w, "no sessions yet", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/livez", func(http.ResponseWriter, *http.Request) {
		// Says nothing of the pool: restarting us does not mend the tool server.
	})
}

//nolint:gocritic // log.Fatal ends what is shown, not what is run
func Example_rollout() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: "https://tools.internal/mcp"})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: ":8080", Handler: &gateway{pool}, ReadHeaderTimeout: 10 * time.Second}
	go func() { log.Println(server.ListenAndServe()) }()

	<-ctx.Done()
	// Below terminationGracePeriodSeconds, which is 30 unless set.
	ending, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	_ = server.Shutdown(ending) // first whoever makes calls
	if err := pool.Close(ending); err != nil {
		log.Println("cut off:", err)
	}
}

func Example_tuning() {
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{
		Endpoint:        "https://tools.internal/mcp",
		Min:             4,               // what the load needs on a quiet day
		Max:             20,              // times CallsPerSession: what the server can bear
		CallsPerSession: 16,              // up to 2025-11-25; measure before going higher
		MaxSessions:     200,             // over all identities
		AcquireTimeout:  2 * time.Second, // better an error than a queue
		CallTimeout:     time.Minute,     // for callers without a deadline
	})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
}

//nolint:gocritic // log.Fatal ends what is shown, not what is run
func Example_fromMCPPool() {
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{
		Endpoint:       "http://gateway.example.com/mcp",
		Min:            2,
		Max:            10,
		ToolsTTL:       5 * time.Minute,
		ProbeInterval:  30 * time.Second,
		MaxLifetime:    time.Hour,
		RecycleWindow:  time.Minute,
		AcquireTimeout: 2 * time.Second,
		ConnectRetries: 2,
		Auth:           mcpool.Bearer(auth.NewSecret("your-api-key")),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)

	if err := pool.WaitReady(ctx); err != nil {
		log.Fatal(err)
	}
	// with pool.session(headers=...) as session: session.call_tool(...)
	err = pool.Do(ctx, func(ctx context.Context, s *mcpool.Session) error {
		for tool, err := range s.Tools(ctx) {
			if err != nil {
				return err
			}
			fmt.Println(tool.Name)
		}
		return nil
	}, mcpool.WithHeader("X-Request-ID", "req-123"))
	if err != nil {
		log.Fatal(err)
	}
	// pool.call_tool(...)
	res, err := pool.Call(ctx, "my_tool", map[string]any{"key": "value"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mcpool.ResultText(res))
	// with pool.try_session() as session
	if s, ok := pool.TryAcquire(ctx); ok {
		s.Release()
	}
	// pool.list_tools(), pool.metrics.snapshot()
	tools, err := pool.ListTools(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(tools), pool.Stats().Calls)
}
