// Command sigv4 shows calls to an MCP server that lets nobody in without an AWS
// signature: package plugins/auth/sigv4 under package mcpool. Everything runs on
// loopback, signatures are really verified, and no AWS account is needed.
//
//	go run ./examples/sigv4
//	go run ./examples/sigv4 -json
//
// It ends by itself, with exit status 1 if something did not hold.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	var o options
	flag.BoolVar(&o.json, "json", false, "print one JSON object")
	flag.DurationVar(&o.each, "each", 2*time.Second, "how long each load lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "sigv4:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	json bool
	each time.Duration
}

// show prints progress, unless the output is JSON.
type show struct{ w io.Writer }

func (s show) printf(format string, args ...any) {
	if s.w != nil {
		fmt.Fprintf(s.w, format, args...)
	}
}

// run does all of it, and fails if something did not hold.
func run(ctx context.Context, w io.Writer, o options) error {
	out := show{w}
	if o.json {
		out.w = nil
	}
	var r report
	d := &demo{each: o.each, report: &r}
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"every request is signed, and verified", d.application},
		{"alice and bob are sessions of a role", d.people},
		{"their keys expire early, all at once", d.expired},
		{"mallory may not assume the role", d.mallory},
		{"the server's clock is an hour ahead", d.clock},
		{"a request is changed on its way", d.changed},
	} {
		result, err := step.do(ctx)
		if err != nil {
			r.Problems = append(r.Problems, step.name+": "+err.Error())
			result = "FAILED: " + err.Error()
		}
		out.printf("%-40s %s\n", step.name, result)
	}
	d.close(ctx)
	r.OK = len(r.Problems) == 0
	if o.json {
		if err := json.NewEncoder(w).Encode(r); err != nil {
			return err
		}
	}
	if !r.OK {
		return fmt.Errorf("something did not hold: %q", r.Problems)
	}
	out.printf("\nEverything held.\n")
	return nil
}
