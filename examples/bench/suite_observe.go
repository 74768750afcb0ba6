package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	poolotel "github.com/go-mcpool/mcpool/plugins/metrics/otel"
	poolprom "github.com/go-mcpool/mcpool/plugins/metrics/prometheus"
)

const observedName = "bench"

// observeSuite is what it costs to observe a pool.
func observeSuite() suite {
	const lease, spans, scrape = "lease", "spans", "scrape1000"
	return suite{
		name: "observe",
		cases: []benchCase{
			plainCase(lease, "a warm lease, observed in different ways", 1, 4, []opener{
				{"nothing", openCore},
				{"prometheus", openPrometheus(poolprom.Config{})},
				{"prometheus, native only", openPrometheus(poolprom.Config{Buckets: []float64{}})},
				{"otel metrics", openOTel(poolotel.Config{NoSpans: true})},
			}),
			{name: spans, about: "a warm lease with its span, and the SDK's span alone", goroutines: 1, impls: append(
				impls([]opener{{"otel spans", openOTel(poolotel.Config{NoMetrics: true})}}, 4,
					func(p peer) (*fixture, error) { return cycles(p), nil }),
				impl{name: "sdk", open: openBareSpans})},
			{name: scrape, about: "gather the metrics of 1000 pools", goroutines: 1, stepwise: true, impls: []impl{
				{name: "collector", open: openCollector},
				{name: "client_golang", open: openBareScrape},
			}},
		},
		targets: []target{
			{kase: lease, impl: "nothing", metric: allocations, max: noAllocation},
			{kase: lease, impl: "prometheus", metric: moreTime, versus: "nothing", max: 400},
			{kase: lease, impl: "prometheus", metric: allocations, max: noAllocation},
			{kase: lease, impl: "prometheus, native only", metric: moreTime, versus: "nothing", max: 400},
			{kase: lease, impl: "otel metrics", metric: moreTime, versus: "nothing", max: 1000},
			{kase: lease, impl: "otel metrics", metric: allocations, max: 3},
			{kase: spans, impl: "otel spans", versus: "sdk", max: 1.3},
			{kase: scrape, impl: "collector", versus: "client_golang", max: 1.2},
		},
	}
}

func openPrometheus(cfg poolprom.Config) func(size int) (peer, error) {
	return func(size int) (peer, error) {
		c, err := poolprom.New(cfg)
		if err != nil {
			return nil, err
		}
		pool := coreConfig(size)
		pool.Hooks = c.Hooks(observedName)
		p, err := newCore(pool)
		if err != nil {
			return nil, err
		}
		return p, errors.Join(c.Add(observedName, p.p), prometheus.NewRegistry().Register(c))
	}
}

func openOTel(cfg poolotel.Config) func(size int) (peer, error) {
	return func(size int) (peer, error) {
		cfg.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
		cfg.TracerProvider = newTracers()
		t, err := poolotel.New(cfg)
		if err != nil {
			return nil, err
		}
		pool := coreConfig(size)
		pool.Hooks = t.Hooks(observedName)
		p, err := newCore(pool)
		if err != nil {
			return nil, err
		}
		return p, t.Add(observedName, p.p)
	}
}

// newTracers records every span, and throws it away when it ends.
func newTracers() *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(discarding{}))
}

// discarding takes spans and keeps none.
type discarding struct{}

func (discarding) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (discarding) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (discarding) Shutdown(context.Context) error                  { return nil }
func (discarding) ForceFlush(context.Context) error                { return nil }

// openBareSpans does with the SDK alone what a traced lease does with it.
func openBareSpans() (*fixture, error) {
	tracer := newTracers().Tracer("bench")
	pool := attribute.String("mcpool.pool.name", observedName)
	return &fixture{worker: func(int) func(int) error {
		ctx := context.Background()
		opts := []trace.SpanStartOption{trace.WithAttributes(pool), trace.WithSpanKind(trace.SpanKindInternal)}
		return func(n int) error {
			for range n {
				_, span := tracer.Start(ctx, "pool.borrow", opts...)
				span.End()
			}
			return nil
		}
	}}, nil
}

// observedPools is how many pools are scraped.
const observedPools = 1000

// still is a pool whose statistics cost nothing.
type still struct{ s mcpool.Stats }

func (p *still) Stats() mcpool.Stats { return p.s }

func stillStats() mcpool.Stats {
	return mcpool.Stats{Calls: 12345, ListHits: 3, ListMisses: 1, Sessions: core.Stats{Live: 5, Idle: 2, Acquired: 1e6, Released: 1e6}}
}

func openCollector() (*fixture, error) {
	c, err := poolprom.New(poolprom.Config{})
	if err != nil {
		return nil, err
	}
	for i := range observedPools {
		if err := c.AddMCP(fmt.Sprint("pool-", i), &still{stillStats()}); err != nil {
			return nil, err
		}
	}
	return gathering(c)
}

// openBareScrape has the same series in the client library's own vectors.
func openBareScrape() (*fixture, error) {
	s := stillStats()
	var all []prometheus.Collector
	for _, m := range mcpool.Measures() {
		name, v := "mcpool_"+poolprom.Name(m.Name, m.Kind), m.Of(&s)
		if m.Kind == core.Counter {
			vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: m.Help}, []string{"pool"})
			for i := range observedPools {
				vec.WithLabelValues(fmt.Sprint("pool-", i)).Add(v)
			}
			all = append(all, vec)
			continue
		}
		vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: m.Help}, []string{"pool"})
		for i := range observedPools {
			vec.WithLabelValues(fmt.Sprint("pool-", i)).Set(v)
		}
		all = append(all, vec)
	}
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mcpool_closed_total", Help: "Resources closed."}, []string{"pool", "reason"})
	for i := range observedPools {
		for _, r := range core.CloseReasons() {
			vec.WithLabelValues(fmt.Sprint("pool-", i), r.String()).Add(1)
		}
	}
	return gathering(append(all, vec)...)
}

func gathering(collectors ...prometheus.Collector) (*fixture, error) {
	reg := prometheus.NewRegistry()
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	want := observedPools * (len(mcpool.Measures()) + len(core.CloseReasons()))
	return &fixture{worker: func(int) func(int) error {
		return func(n int) error {
			for range n {
				families, err := reg.Gather()
				if err != nil {
					return err
				}
				series := 0
				for _, f := range families {
					series += len(f.GetMetric())
				}
				if series != want {
					return fmt.Errorf("%d series, want %d", series, want)
				}
			}
			return nil
		}
	}}, nil
}
