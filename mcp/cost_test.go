package mcpool

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// way is a way to reach a server whose one tool does nothing.
type way struct {
	name, version string
	http          bool
}

func ways() []way {
	return []way{
		{"memory/old", lastOld, false}, {"memory/2026", firstModern, false},
		{"http/old", lastOld, true}, {"http/2026", firstModern, true},
	}
}

// calls returns how the tool is called on a session of the SDK, which says of
// itself what the pool says and has listed the tools, and through a pool.
func (w way) calls(tb testing.TB) (direct, pooled func(context.Context) error) {
	tb.Helper()
	m := mcp.NewServer(&mcp.Implementation{Name: "echo", Version: "1"}, nil)
	m.AddTool(&mcp.Tool{Name: "echo", InputSchema: map[string]any{"type": "object"}},
		func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "hi"}}}, nil
		})
	cfg := Config{ProtocolVersion: w.version, Min: 1, Max: 1, NoListener: true}
	var transport mcp.Transport
	if w.http {
		srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m },
			&mcp.StreamableHTTPOptions{Stateless: isModern(w.version)}))
		tb.Cleanup(srv.Close)
		base := &http.Transport{}
		tb.Cleanup(base.CloseIdleConnections)
		cfg.Endpoint = srv.URL
		transport = &mcp.StreamableClientTransport{Endpoint: srv.URL, HTTPClient: &http.Client{Transport: base}, DisableStandaloneSSE: true}
	} else {
		var err error
		cfg.Transport = InMemory(m)
		if transport, err = cfg.Transport(tb.Context(), Dial{}); err != nil {
			tb.Fatal(err)
		}
	}
	p, err := Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close(context.Background()) })
	client := mcp.NewClient(p.cfg.ClientInfo, &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}})
	s, err := client.Connect(tb.Context(), transport, &mcp.ClientSessionOptions{ProtocolVersion: w.version})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	if _, err := s.ListTools(tb.Context(), nil); err != nil {
		tb.Fatal(err)
	}
	args := map[string]any{"text": "hi"}
	direct = func(ctx context.Context) error {
		_, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: args})
		return err
	}
	pooled = func(ctx context.Context) error {
		_, err := p.Call(ctx, "echo", args)
		return err
	}
	return direct, pooled
}

// The same server answers both in this process, so that what one allocates more
// is the client's. examples/bench measures time, with a server of its own.
func TestACallAllocatesLittleMoreThanTheSDK(t *testing.T) { //nolint:paralleltest // the counters are those of the process
	for _, w := range ways() {
		most := 8.0
		if w.http {
			most = 20
		}
		direct, pooled := w.calls(t)
		for _, ending := range []bool{false, true} { // most callers have a context that can end
			// The runtime allocates too, and the race detector has pools forget at
			// random: what was less once is what a call makes.
			more := math.Inf(1)
			for try := 0; try < 5 && more > most; try++ {
				more = min(more, allocations(t, pooled, ending)-allocations(t, direct, ending))
			}
			t.Logf("%s, a context that can end %t: %.2f more", w.name, ending, more)
			if more > most {
				t.Errorf("%s, a context that can end %t: %.2f allocations more than the SDK, want at most %.0f", w.name, ending, more, most)
			}
		}
	}
}

// allocations returns how many a call makes in this process.
func allocations(t *testing.T, call func(context.Context) error, ending bool) float64 {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines take turns in the same order
	const calls = 400
	var before, after runtime.MemStats
	for n := range calls + 100 {
		if n == 100 { // warm
			runtime.ReadMemStats(&before)
		}
		ctx, cancel := context.Background(), context.CancelFunc(func() {})
		if ending {
			ctx, cancel = context.WithCancel(context.Background())
		}
		err := call(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / calls
}

func BenchmarkCall(b *testing.B) {
	for _, w := range ways() {
		direct, pooled := w.calls(b)
		for _, who := range []struct {
			name string
			call func(context.Context) error
		}{{"direct", direct}, {"pool", pooled}} {
			b.Run(w.name+"/"+who.name, func(b *testing.B) {
				ctx := context.Background()
				b.ReportAllocs()
				for b.Loop() {
					if err := who.call(ctx); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
