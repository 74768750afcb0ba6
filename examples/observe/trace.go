package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// spans is an exporter that keeps what it gets, in place of one that sends it to a
// collector. Of the load nothing is sampled.
type spans struct {
	mu  sync.Mutex
	all []sdktrace.ReadOnlySpan
}

func (s *spans) ExportSpans(_ context.Context, more []sdktrace.ReadOnlySpan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, more...)
	return nil
}

func (s *spans) Shutdown(context.Context) error { return nil }

// of returns the spans of one trace in the order they began.
func (s *spans) of(id trace.TraceID) []sdktrace.ReadOnlySpan {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []sdktrace.ReadOnlySpan
	for _, span := range s.all {
		if span.SpanContext().TraceID() == id {
			found = append(found, span)
		}
	}
	slices.SortStableFunc(found, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	return found
}

// traced makes one call in a trace of its own and waits for its spans.
func (w *watched) traced(ctx context.Context) ([]sdktrace.ReadOnlySpan, error) {
	sampled := sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans))
	defer func() { _ = sampled.Shutdown(context.Background()) }()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ctx, span := sampled.Tracer("program").Start(ctx, "answer a question")
	_, err := w.pool.Call(ctx, "echo", map[string]any{"text": "hello"})
	span.End()
	if err != nil {
		return nil, err
	}
	for {
		// The server ends its span on its own time.
		found := w.spans.of(span.SpanContext().TraceID())
		for _, s := range found {
			if s.SpanKind() == trace.SpanKindServer {
				return found, nil
			}
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("the trace did not reach the server: %w", ctx.Err())
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// printTrace prints spans under their parents.
func printTrace(out io.Writer, all []sdktrace.ReadOnlySpan) {
	var under func(parent trace.SpanID, depth int)
	under = func(parent trace.SpanID, depth int) {
		for _, s := range all {
			if s.Parent().SpanID() != parent {
				continue
			}
			name := strings.Repeat("  ", depth) + s.Name()
			fmt.Fprintf(out, "  %-34s %-9s %v\n", name, s.SpanKind(), s.EndTime().Sub(s.StartTime()).Round(time.Microsecond))
			for _, a := range s.Attributes() {
				fmt.Fprintf(out, "  %s  %s = %s\n", strings.Repeat("  ", depth+1), a.Key, a.Value.String())
			}
			under(s.SpanContext().SpanID(), depth+1)
		}
	}
	under(trace.SpanID{}, 0)
}
