// Command quickstart shows what package mcpool does, with nothing to set up: it
// starts a real MCP server as a process of its own on loopback, works with it, kills
// it and starts it again, and prints what came of it.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -json
//	go run ./examples/quickstart -endpoint http://localhost:8080/mcp -tool echo -args '{"text":"hi"}'
//	go run ./examples/quickstart -stdio "npx -y @modelcontextprotocol/server-everything" -tool echo -args '{"message":"hi"}'
//
// It ends by itself in less than a minute, with exit status 1 if something did
// not hold.
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

// The load: as in the figures that the README shows.
const (
	callers  = 64
	sessions = 8
)

func main() {
	var o options
	serve := flag.String("serve", "", "run the server of the demonstration at this address; used by the program itself")
	flag.BoolVar(&o.json, "json", false, "print one JSON object")
	flag.DurationVar(&o.each, "each", 1500*time.Millisecond, "how long to measure each way of calling")
	flag.StringVar(&o.endpoint, "endpoint", "", "URL of a server of your own")
	flag.StringVar(&o.stdio, "stdio", "", "command line of a server of your own")
	flag.StringVar(&o.tool, "tool", "", "tool of your own server to call")
	flag.StringVar(&o.args, "args", "{}", "its arguments, as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *serve != "" {
		if err := runServer(*serve); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	json            bool
	each            time.Duration
	endpoint, stdio string
	tool, args      string
}

// report is what -json prints.
type report struct {
	Echo struct {
		PerCall   *figures `json:"per_call,omitempty"`
		Exclusive *figures `json:"exclusive,omitempty"`
		Shared    *figures `json:"shared,omitempty"`
	} `json:"echo"`
	Slow struct {
		Exclusive *figures `json:"exclusive,omitempty"`
		Shared    *figures `json:"shared,omitempty"`
	} `json:"slow"`
	// Modern is echo against a server of protocol version 2026-07-28.
	Modern struct {
		PerCall *figures `json:"per_call,omitempty"`
		Shared  *figures `json:"shared,omitempty"`
	} `json:"modern"`
	Restart struct {
		Calls  int `json:"calls"`
		Failed int `json:"failed"`
	} `json:"restart"`
	Identities struct {
		Calls   int `json:"calls"`
		Crossed int `json:"crossed"`
	} `json:"identities"`
	Header   bool     `json:"header"`
	Affinity bool     `json:"affinity"`
	Schema   bool     `json:"schema"`
	Problems []string `json:"problems,omitempty"`
	OK       bool     `json:"ok"`
}

// show prints progress, unless the output is JSON.
type show struct {
	w io.Writer
}

func (s show) printf(format string, args ...any) {
	if s.w != nil {
		fmt.Fprintf(s.w, format, args...)
	}
}

// run does all of it, and fails if something did not hold.
func run(ctx context.Context, w io.Writer, o options) error {
	var r report
	out := show{w}
	if o.json {
		out.w = nil
	}
	var err error
	if o.endpoint != "" || o.stdio != "" {
		err = visit(ctx, out, o, &r)
	} else {
		err = demonstrate(ctx, out, o, &r)
	}
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
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
