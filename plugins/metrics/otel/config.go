package poolotel

import (
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the name of the instrumentation scope of everything here.
const Scope = "github.com/go-mcpool/mcpool/plugins/metrics/otel"

// Config configures a Telemetry.
type Config struct {
	// TracerProvider makes the tracer. Default: the global one.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the meter. Default: the global one.
	MeterProvider metric.MeterProvider
	// Propagator writes the caller's trace into what is sent to the server. Default:
	// the global one, which does nothing until the program sets it.
	Propagator propagation.TextMapPropagator
	// NoSpans leaves spans out. The caller's trace goes on at the server all the same.
	NoSpans bool
	// NoMetrics leaves metrics out.
	NoMetrics bool
	// ReturnSpans adds a span pool.return for the end of each lease.
	ReturnSpans bool
	// SeedNames adds the metrics of the Python package mcp-pool under their names there.
	SeedNames bool
	// Allow lists attributes that are not reported unless they are named here:
	// "mcpool.resource.id", "mcpool.identity.label", "exception.message".
	Allow []string
	// MaxTools is how many names of tools each pool may have; what comes later is
	// "_other". -1 shows no names. Default: 100.
	MaxTools int
}

// The attributes that Config.Allow may name.
const (
	AttrResourceID   = "mcpool.resource.id"
	AttrIdentity     = "mcpool.identity.label"
	AttrErrorMessage = "exception.message"
)

func (c *Config) complete() error {
	var errs []error
	for _, a := range c.Allow {
		if !slices.Contains([]string{AttrResourceID, AttrIdentity, AttrErrorMessage}, a) {
			errs = append(errs, fmt.Errorf("poolotel: Config.Allow has %q: there are %s, %s and %s", a, AttrResourceID, AttrIdentity, AttrErrorMessage))
		}
	}
	if c.MaxTools < -1 {
		errs = append(errs, fmt.Errorf("poolotel: Config.MaxTools is %d: give at least 1, 0 for the default or -1 for none", c.MaxTools))
	}
	if c.MaxTools == 0 {
		c.MaxTools = 100
	}
	if c.TracerProvider == nil {
		c.TracerProvider = otel.GetTracerProvider()
	}
	if c.MeterProvider == nil {
		c.MeterProvider = otel.GetMeterProvider()
	}
	if c.Propagator == nil {
		c.Propagator = otel.GetTextMapPropagator()
	}
	c.Allow = slices.Clone(c.Allow)
	return errors.Join(errs...)
}

func (c *Config) tracer() trace.Tracer {
	return c.TracerProvider.Tracer(Scope, trace.WithSchemaURL(semconv.SchemaURL))
}

func (c *Config) meter() metric.Meter {
	return c.MeterProvider.Meter(Scope, metric.WithSchemaURL(semconv.SchemaURL))
}
