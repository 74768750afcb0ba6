package poolotel

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// conn is what the pools of these tests hold.
type conn struct{}

func (*conn) Close() error { return nil }

// bundle is a Telemetry in front of the real SDK.
type bundle struct {
	*Telemetry

	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
}

func setup(t *testing.T, cfg Config) *bundle {
	t.Helper()
	b := &bundle{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.reader))
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans))
	cfg.MeterProvider, cfg.TracerProvider, cfg.Propagator = meters, tracers, propagation.TraceContext{}
	b.tracer = tracers.Tracer("test")
	var err error
	if b.Telemetry, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(b.Close(ctx), meters.Shutdown(ctx), tracers.Shutdown(ctx)); err != nil {
			t.Error(err)
		}
	})
	return b
}

// metrics are what the SDK has collected, by name.
func (b *bundle) metrics(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := b.reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]metricdata.Metrics)
	for _, s := range rm.ScopeMetrics {
		for _, m := range s.Metrics {
			all[m.Name] = m
		}
	}
	return all
}

// span is the first that has ended under a name, or nil.
func (b *bundle) span(name string) sdktrace.ReadOnlySpan {
	for _, s := range b.spans.Ended() {
		if s.Name() == name {
			return s
		}
	}
	return nil
}

func attr(s sdktrace.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

func newPool(t *testing.T, cfg core.Config[*conn]) *core.Pool[*conn] {
	t.Helper()
	if cfg.Open == nil {
		cfg.Open = func(context.Context) (*conn, error) { return &conn{}, nil }
	}
	p, err := core.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

func TestAPoolOfAnythingIsReportedInMetricsAndSpans(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{SeedNames: true, ReturnSpans: true})
	p := newPool(t, core.Config[*conn]{Max: 1, Hooks: b.Hooks("db")})
	if err := b.Add("db", p); err != nil {
		t.Fatal(err)
	}
	ctx, parent := b.tracer.Start(t.Context(), "caller")
	l, err := p.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if _, err := p.Acquire(short); err == nil {
		t.Fatal("a second lease")
	}
	got := b.metrics(t)
	l.Release()
	parent.End()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	states := make(map[string]int64)
	for _, d := range got["mcpool.resource.count"].Data.(metricdata.Sum[int64]).DataPoints {
		state, _ := d.Attributes.Value("state")
		pool, _ := d.Attributes.Value("mcpool.pool.name")
		states[pool.AsString()+" "+state.AsString()] = d.Value
	}
	if len(states) != 2 || states["db used"] != 1 || states["db idle"] != 0 {
		t.Errorf("resources by state: %v", states)
	}
	for name, want := range map[string]int64{
		"mcpool.resource.pending_requests": 0, "mcpool.resource.timeouts": 1, "pool.active_sessions": 1, "pool.idle_sessions": 0, "pool.errors_total": 0,
	} {
		sum, ok := got[name].Data.(metricdata.Sum[int64])
		if !ok || len(sum.DataPoints) != 1 || sum.DataPoints[0].Value != want {
			t.Errorf("%s: %+v, want %d", name, got[name].Data, want)
		}
	}
	got = b.metrics(t)
	for _, name := range []string{"mcpool.resource.create_time", "mcpool.resource.wait_time", "mcpool.resource.use_time", "pool.borrow_wait_seconds"} {
		h, ok := got[name].Data.(metricdata.Histogram[float64])
		if !ok || got[name].Unit != "s" || len(h.DataPoints) != 1 || h.DataPoints[0].Count != 1 {
			t.Errorf("%s: %+v, want one time in seconds", name, got[name])
		}
	}
	exemplars := got["mcpool.resource.wait_time"].Data.(metricdata.Histogram[float64]).DataPoints[0].Exemplars
	sc := parent.SpanContext()
	traceID := sc.TraceID()
	if len(exemplars) != 1 || !slices.Equal(exemplars[0].TraceID, traceID[:]) {
		t.Errorf("exemplars %v, want one of the caller's trace", exemplars)
	}

	for _, name := range []string{"pool.borrow", "session.create", "session.close", "pool.return"} {
		s := b.span(name)
		if s == nil {
			t.Errorf("no span %s", name)
			continue
		}
		if got := attr(s, "mcpool.pool.name"); got != "db" {
			t.Errorf("%s is of pool %q", name, got)
		}
		if attr(s, AttrResourceID) != "" {
			t.Errorf("%s tells the id, which nobody allowed", name)
		}
	}
	if s := b.span("pool.borrow"); s != nil && s.Parent().SpanID() != sc.SpanID() {
		t.Error("pool.borrow is not in the caller's trace")
	}
	if s := b.span("session.close"); s != nil && attr(s, "mcpool.close.reason") != "closed" {
		t.Errorf("closed because of %q", attr(s, "mcpool.close.reason"))
	}
	failed := 0
	for _, s := range b.spans.Ended() {
		if s.Name() == "pool.borrow" && s.Status().Code == codes.Error && attr(s, "error.type") == "exhausted" {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d failed borrows, want 1", failed)
	}
	if n, m := len(b.spans.Started()), len(b.spans.Ended()); n != m {
		t.Errorf("%d spans begun and %d ended", n, m)
	}
}

// server is a real MCP server that remembers where calls say that they come from.
type server struct {
	url string

	mu     sync.Mutex
	header []string // traceparent of tools/call
	meta   []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	m := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	mcp.AddTool(m, &mcp.Tool{Name: "echo"}, func(_ context.Context, r *mcp.CallToolRequest, _ map[string]any) (*mcp.CallToolResult, any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.header = append(s.header, r.Extra.Header.Get("Traceparent"))
		parent, _ := r.Params.Meta["traceparent"].(string)
		s.meta = append(s.meta, parent)
		return &mcp.CallToolResult{}, nil, nil
	})
	mcp.AddTool(m, &mcp.Tool{Name: "fail"}, func(context.Context, *mcp.CallToolRequest, map[string]any) (*mcp.CallToolResult, any, error) {
		return nil, nil, errors.New("out of order")
	})
	web := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m }, nil))
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

func openMCP(t *testing.T, b *bundle, url string) *mcpool.Pool {
	t.Helper()
	// Without a listener, whose beginning makes the pool forget a list that is being fetched.
	p, err := mcpool.Open(t.Context(), mcpool.Config{Name: "tools", Endpoint: url, NoListener: true, ConnectTimeout: time.Minute, Hooks: b.MCPHooks("tools")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	if err := b.AddMCP("tools", p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestACallIsASpanThatGoesOnAtTheServer(t *testing.T) {
	t.Parallel()
	b, s := setup(t, Config{}), newServer(t)
	p := openMCP(t, b, s.url)
	if _, err := p.ListTools(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, parent := b.tracer.Start(t.Context(), "caller")
	args := map[string]any{"password": "hunter2"}
	if _, err := p.Call(ctx, "echo", args, mcpool.WithHeader("Authorization", "Bearer very-secret")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Call(ctx, "echo", args); err != nil {
		t.Fatal(err)
	}
	if res, err := p.Call(ctx, "fail", nil); err != nil || !res.IsError {
		t.Fatalf("%v, %v", res, err)
	}
	if _, err := p.Call(ctx, "hunter2", nil); err == nil {
		t.Fatal("a tool that is not there")
	}
	parent.End()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	call := b.span("tools/call echo")
	if call == nil {
		t.Fatal("no span of the call")
	}
	if call.SpanKind() != trace.SpanKindClient || call.Parent().SpanID() != parent.SpanContext().SpanID() {
		t.Errorf("the span of the call is of kind %v, its parent is %v", call.SpanKind(), call.Parent().SpanID())
	}
	for key, want := range map[string]string{
		"mcp.method.name": "tools/call", "gen_ai.tool.name": "echo", "gen_ai.operation.name": "execute_tool",
		"network.transport": "tcp", "mcpool.pool.name": "tools", "mcpool.call.attempts": "1",
	} {
		if got := attr(call, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if attr(call, "mcp.protocol.version") == "" {
		t.Error("no protocol version")
	}
	want := "00-" + call.SpanContext().TraceID().String() + "-" + call.SpanContext().SpanID().String() + "-01"
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.header, want) || !slices.Contains(s.meta, want) {
		t.Errorf("the server saw headers %q and _meta %q, want %q", s.header, s.meta, want)
	}
	if f := b.span("tools/call fail"); f == nil || attr(f, "error.type") != "tool_error" || f.Status().Code != codes.Error {
		t.Errorf("the tool's failure: %v", f)
	}
	if o := b.span("tools/call _other"); o == nil || attr(o, "gen_ai.tool.name") != "_other" || o.Status().Code != codes.Error {
		t.Errorf("the call of a made up tool: %v", o)
	}
	if b.span("list_tools") == nil {
		t.Error("no span list_tools")
	}
	for _, span := range b.spans.Ended() {
		for _, a := range append(span.Attributes(), attribute.String("name", span.Name()), attribute.String("status", span.Status().Description)) {
			if v := a.Value.String(); strings.Contains(v, "hunter2") || strings.Contains(v, "secret") {
				t.Errorf("%s: %s tells %q", span.Name(), a.Key, v)
			}
		}
		if len(span.Events()) != 0 {
			t.Errorf("%s has events", span.Name())
		}
	}
	if n, m := len(b.spans.Started()), len(b.spans.Ended()); n != m {
		t.Errorf("%d spans begun and %d ended", n, m)
	}

	got := b.metrics(t)
	if h, ok := got["mcp.client.session.duration"].Data.(metricdata.Histogram[float64]); !ok || len(h.DataPoints) == 0 || h.DataPoints[0].Count == 0 {
		t.Errorf("mcp.client.session.duration: %+v", got["mcp.client.session.duration"])
	}
	tools := make(map[string]string)
	h, ok := got["mcp.client.operation.duration"].Data.(metricdata.Histogram[float64])
	if !ok {
		t.Fatalf("mcp.client.operation.duration: %+v", got)
	}
	for _, d := range h.DataPoints {
		tool, _ := d.Attributes.Value("gen_ai.tool.name")
		kind, _ := d.Attributes.Value("error.type")
		tools[tool.AsString()] = kind.AsString()
		if tool.AsString() == "echo" && len(d.Exemplars) == 0 {
			t.Error("no exemplar of the call")
		}
	}
	if tools["echo"] != "" || tools["fail"] != "tool_error" || tools["_other"] == "" || len(tools) != 4 {
		t.Errorf("error.type by tool: %q", tools)
	}
}

func TestAllowedAttributesAreReportedAndOthersRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Allow: []string{AttrResourceID, AttrErrorMessage}})
	down := errors.New("no route to host")
	p := newPool(t, core.Config[*conn]{Max: 1, Hooks: b.Hooks("db"), Open: func(context.Context) (*conn, error) { return nil, down }, OpenRetries: -1})
	if _, err := p.Acquire(t.Context()); err == nil {
		t.Fatal("a lease on nothing")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := b.span("session.create"); s == nil || !strings.Contains(attr(s, AttrErrorMessage), down.Error()) || attr(s, "error.type") == "" {
		t.Errorf("the failed open: %v", s)
	}
	if _, err := New(Config{Allow: []string{"mcp.session.id"}, MaxTools: -2}); err == nil ||
		!strings.Contains(err.Error(), "mcp.session.id") || !strings.Contains(err.Error(), "MaxTools") {
		t.Errorf("faults: %v", err)
	}
}

func TestTheEndOfASpanThatWasLostLeavesTheCallersAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	h := b.Hooks("db")
	ctx, parent := b.tracer.Start(t.Context(), "caller")
	h.AcquireEnd(ctx, core.AcquireEnd{})
	if len(b.spans.Ended()) != 0 {
		t.Error("the caller's span was ended")
	}
	parent.End()
}

func TestEveryMetricOfTheTableIsMadeAndNoOther(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{SeedNames: true})
	h := b.MCPHooks("m")
	ctx := t.Context()
	h.Core.AcquireEnd(ctx, core.AcquireEnd{})
	h.Core.AcquireEnd(ctx, core.AcquireEnd{Err: &core.ExhaustedError{}})
	h.Core.Released(core.Released{})
	h.Core.OpenEnd(ctx, core.OpenEnd{})
	h.Core.CloseEnd(ctx, core.CloseEnd{})
	h.CallEnd(ctx, mcpool.CallEnd{})
	if err := b.Add("m", stats{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Add("m", stats{}); !errors.Is(err, ErrName) {
		t.Errorf("the same name again: %v", err)
	}
	got := b.metrics(t)
	for _, m := range Metrics() {
		if g, ok := got[m.Name]; !ok || g.Unit != m.Unit || g.Description != m.Help {
			t.Errorf("%s: %+v, want %+v", m.Name, g, m)
		}
		delete(got, m.Name)
	}
	if len(got) > 0 {
		t.Errorf("not in the table: %v", got)
	}
	b.Remove("m")
	if _, ok := b.metrics(t)["mcpool.resource.count"]; ok {
		t.Error("a pool that was removed is reported")
	}
}

type stats struct{}

func (stats) Stats() core.Stats { return core.Stats{} }

// Nor is the span of a call ended by a lease within it whose own span was lost.
func TestTheEndOfALeaseLeavesTheSpanOfItsCallAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	h := b.MCPHooks("m")
	ctx := h.CallStart(t.Context(), mcpool.CallStart{Method: "ping"})
	h.Core.AcquireEnd(ctx, core.AcquireEnd{})
	if len(b.spans.Ended()) != 0 {
		t.Error("the span of the call was ended")
	}
	h.CallEnd(ctx, mcpool.CallEnd{})
	if len(b.spans.Ended()) != 1 {
		t.Error("the span of the call was not ended")
	}
}
