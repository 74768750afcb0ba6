// Command oauth shows how a program logs in to an MCP server and then forgets about
// it: package plugins/auth/oauth under package mcpool.
//
//	go run ./examples/oauth                  log in with your browser, to a server on loopback
//	go run ./examples/oauth -device          the same with a code to type in
//	go run ./examples/oauth -endpoint https://mcp.example.com/mcp -tool search -args '{"q":"x"}'
//	go run ./examples/oauth -auto            nobody needed: shows what holds, and ends by itself
//	go run ./examples/oauth -auto -json
//
// The server on loopback is a real MCP server behind a real authorization server,
// with tokens that live a few seconds, so that one can watch them being renewed.
// The exit status is 1 if something did not hold.
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
	flag.BoolVar(&o.auto, "auto", false, "log in by program, and check what is promised")
	flag.BoolVar(&o.json, "json", false, "with -auto: print one JSON object")
	flag.DurationVar(&o.each, "each", 3*time.Second, "how long each load lasts")
	flag.DurationVar(&o.lifetime, "lifetime", 2*time.Second, "how long an access token of the server on loopback lives")
	flag.BoolVar(&o.device, "device", false, "log in with a device code")
	flag.StringVar(&o.endpoint, "endpoint", "", "URL of a server of your own")
	flag.StringVar(&o.tool, "tool", "", "tool of your own server to call; none lists the tools")
	flag.StringVar(&o.args, "args", "{}", "its arguments, as JSON")
	flag.StringVar(&o.clientID, "client", "", "client ID, where your server knows you; else one is registered")
	flag.StringVar(&o.tokens, "tokens", "", "file to keep tokens in between runs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := logIn
	if o.auto {
		run = demonstrate
	}
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "oauth:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	auto, json, device bool
	each, lifetime     time.Duration
	endpoint           string
	tool, args         string
	clientID, tokens   string
}

// show prints progress, unless the output is JSON.
type show struct{ w io.Writer }

func (s show) printf(format string, args ...any) {
	if s.w != nil {
		fmt.Fprintf(s.w, format, args...)
	}
}

// finish prints the report and says whether everything held.
func finish(w io.Writer, out show, o options, r *report) error {
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
