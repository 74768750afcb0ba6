// Command observe shows how a pool is watched. It starts an MCP server on loopback,
// puts load on a pool of it, takes the server away for a moment, and prints what
// Prometheus, the debug page and a trace tell about that.
//
//	go run ./examples/observe
//	go run ./examples/observe -serve
//
// With -serve the load goes on and everything stays open for looking at, until it is
// interrupted; without, it ends by itself in a few seconds.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	var o options
	flag.BoolVar(&o.serve, "serve", false, "keep it open until it is interrupted")
	flag.StringVar(&o.addr, "addr", "127.0.0.1:0", "where to serve /metrics and the debug page")
	flag.DurationVar(&o.each, "each", 2*time.Second, "length of the load before and after the server is away")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "observe:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	serve bool
	addr  string
	each  time.Duration
}

// run is the whole show.
func run(ctx context.Context, out io.Writer, o options) (err error) {
	w, err := open(ctx, o.addr)
	if err != nil {
		return err
	}
	defer func() {
		if closed := w.close(); err == nil {
			err = closed
		}
	}()
	fmt.Fprintf(out, "metrics     %s/metrics\ndebug page  %s/debug/mcp\nhealth      %s/healthz and /readyz\n\n", w.url, w.url, w.url)

	stopLoad := w.load(ctx)
	defer stopLoad()
	pause(ctx, o.each)
	w.server.stop()
	pause(ctx, o.each/4)
	if err := w.server.start(ctx); err != nil {
		return err
	}
	pause(ctx, o.each)

	trace, err := w.traced(ctx)
	if err != nil {
		return fmt.Errorf("a call with a trace: %w", err)
	}
	fmt.Fprintln(out, "one call, as OpenTelemetry has it:")
	printTrace(out, trace)
	fmt.Fprintln(out, "\nfrom /metrics:")
	if err := w.printMetrics(ctx, out); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nfrom the debug page:")
	if err := w.printPage(ctx, out); err != nil {
		return err
	}
	if o.serve {
		fmt.Fprintf(out, "\nopen %s/debug/mcp in a browser; interrupt to end\n", w.url)
		<-ctx.Done()
	}
	return nil
}

// pause waits, but not past the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
