package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/mcp/debug"
	poolotel "github.com/go-mcpool/mcpool/plugins/metrics/otel"
	poolprom "github.com/go-mcpool/mcpool/plugins/metrics/prometheus"
)

// watched is a pool with everything that watches it.
type watched struct {
	server  *server
	pool    *mcpool.Pool
	page    *debug.Page
	tracers *sdktrace.TracerProvider
	spans   *spans
	url     string // of /metrics and the debug page
	http    *http.Server
	ended   chan struct{}
}

// open starts all of it. This is the part to copy.
func open(ctx context.Context, addr string) (_ *watched, err error) {
	w := &watched{spans: new(spans), ended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	w.tracers = sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	w.server = &server{tracer: w.tracers.Tracer("server")}
	if err := w.server.start(ctx); err != nil {
		return nil, err
	}

	// snippet:begin wire
	// What observes: Prometheus, OpenTelemetry, the debug page.
	metrics, err := poolprom.New(poolprom.Config{})
	if err != nil {
		return nil, err
	}
	telemetry, err := poolotel.New(poolotel.Config{TracerProvider: w.tracers, Propagator: propagation.TraceContext{}, NoMetrics: true})
	if err != nil {
		return nil, err
	}
	if w.page, err = debug.New(debug.Config{}); err != nil {
		return nil, err
	}

	// The pool tells all three.
	w.pool, err = mcpool.Open(ctx, mcpool.Config{
		Name:     "tools",
		Endpoint: "http://" + w.server.addr + "/mcp",
		Min:      2, Max: 4, CallsPerSession: 2,
		Logger: slog.New(slog.DiscardHandler), // to keep the output of this example short
		Hooks:  mcpool.JoinHooks(metrics.MCPHooks("tools"), telemetry.MCPHooks("tools"), w.page.Hooks()),
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(metrics.AddMCP("tools", w.pool), w.page.Watch(w.pool)); err != nil {
		return nil, err
	}
	// snippet:end wire

	// Names of tools are shown once the pool knows that the server has them.
	if _, err := w.pool.ListTools(ctx); err != nil {
		return nil, err
	}

	// snippet:begin serve
	// Where it is looked at.
	registry := prometheus.NewRegistry()
	if err := registry.Register(metrics); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.Handle("/debug/mcp", w.page)
	mux.Handle("/healthz", debug.Healthz())
	mux.Handle("/readyz", debug.Readyz(w.pool))
	// snippet:end serve

	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	w.url = "http://" + l.Addr().String()
	w.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(w.ended)
		_ = w.http.Serve(l)
	}()
	return w, nil
}

// close ends what open started, as far as it came.
func (w *watched) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var errs []error
	if w.http != nil {
		_ = w.http.Close()
		<-w.ended
	}
	if w.page != nil {
		errs = append(errs, w.page.Close(ctx))
	}
	if w.pool != nil {
		errs = append(errs, w.pool.Close(ctx))
	}
	if w.server != nil && w.server.http != nil {
		w.server.stop()
	}
	errs = append(errs, w.tracers.Shutdown(ctx))
	return errors.Join(errs...)
}

// load has callers make calls of all kinds until the function it returns is called.
func (w *watched) load(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var callers sync.WaitGroup
	for range 10 {
		callers.Go(func() {
			for ctx.Err() == nil {
				tool := []string{"echo", "echo", "search", "unsteady"}[rand.IntN(4)] //nolint:gosec // a pretence
				// What comes of it is for the observers to tell.
				_, _ = w.pool.Call(ctx, tool, map[string]any{"text": "hello"})
				pause(ctx, time.Duration(rand.IntN(20))*time.Millisecond) //nolint:gosec // likewise
			}
		})
	}
	return func() { cancel(); callers.Wait() }
}
