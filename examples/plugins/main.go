// Command plugins shows what plugin binaries are worth in a program that must not
// stop: packages sdk/host and plugins/auth under package mcpool. Everything runs on
// loopback; signatures and tokens are really verified.
//
//	go run ./examples/plugins
//	go run ./examples/plugins -json
//
// It builds the binaries for SigV4 and OAuth, pools sessions through both, kills and
// stops them under load, and replaces one with another build. It ends by itself, with
// exit status 1 if something did not hold.
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
	flag.BoolVar(&o.verbose, "v", false, "print the log of the host, and of the plugins")
	flag.IntVar(&o.kills, "kills", 3, "how often each plugin is killed")
	flag.IntVar(&o.samples, "samples", 300, "how many calls are timed, in process and through the binary")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "plugins:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	json, verbose  bool
	kills, samples int
}

// report is what -json prints.
type report struct {
	SigV4    signed   `json:"sigv4"`
	OAuth    counts   `json:"oauth"`
	Kills    int      `json:"plugin_kills"` // by SIGKILL
	Stops    int      `json:"plugin_stops"` // by SIGSTOP, for the host to notice
	Replaced bool     `json:"replaced"`     // by another build, under load
	Refused  bool     `json:"refused"`      // a build that is not the one that was named
	Left     int      `json:"left_behind"`  // processes, after the end
	Problems []string `json:"problems,omitempty"`
	OK       bool     `json:"ok"`
}

// counts is what came of the calls. None of them had to fail.
type counts struct {
	Calls  int64 `json:"calls"`
	Failed int64 `json:"failed"`
}

// signed has the median time of a whole call too, in microseconds.
type signed struct {
	counts
	InProcess float64 `json:"in_process_us"`
	Binary    float64 `json:"binary_us"`
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
	d := &demo{options: o}
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"build the plugins", d.build},
		{"start servers, plugins and pools", d.start},
		{"call, signed in process and by the binary", d.compare},
		{"call through both, all at once", d.load},
		{"SIGKILL the SigV4 plugin", d.killSigV4},
		{"SIGKILL the OAuth plugin", d.killOAuth},
		{"SIGSTOP both", d.stopBoth},
		{"replace SigV4 with a build that is not it", d.refuse},
		{"replace SigV4 with a newer build", d.replace},
		{"close all of it", d.finish},
	} {
		out.printf("%-44s ", step.name)
		began := time.Now()
		result, err := step.do(ctx)
		if err != nil {
			d.Problems = append(d.Problems, step.name+": "+err.Error())
			result = "FAILED: " + err.Error()
		}
		out.printf("%6.1f s   %s\n", time.Since(began).Seconds(), result)
		if err != nil && d.sigv4.calls == nil { // the rest needs what is not there
			break
		}
	}
	if err := d.close(ctx); err != nil { // nothing to do, if the last step was reached
		d.Problems = append(d.Problems, "close what was left: "+err.Error())
	}
	d.OK = len(d.Problems) == 0
	if o.json {
		if err := json.NewEncoder(w).Encode(d.report); err != nil {
			return err
		}
	}
	out.printf("\n%-10s %10s %10s %16s %16s\n", "", "calls", "failed", "in process", "binary")
	out.printf("%-10s %10d %10d %13.0f µs %13.0f µs\n", "SigV4", d.SigV4.Calls, d.SigV4.Failed, d.SigV4.InProcess, d.SigV4.Binary)
	out.printf("%-10s %10d %10d\n", "OAuth", d.OAuth.Calls, d.OAuth.Failed)
	if !d.OK {
		return fmt.Errorf("something did not hold: %q", d.Problems)
	}
	out.printf("\nEverything held.\n")
	return nil
}
