// Command transports reaches one MCP server by every road that mcpool knows: HTTP,
// stdio, WebSocket, SSH, a wrapper command, and a plugin binary, which it builds. The
// server is a real one, this program again, in processes of its own; for SSH there is
// an sshd on loopback with temporary keys, where OpenSSH is installed.
//
//	go run ./examples/transports
//	go run ./examples/transports -json
//
// By each road it makes the same calls and compares the results, measures how long a
// small call takes, and then cuts the road again and again under load: no read-only
// call may fail of it. It does all of that in both eras of the protocol, and ends by
// itself, some half a minute after everything is built, with exit status 1 if something
// did not hold.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"
)

func main() {
	if len(os.Args) == 5 && os.Args[1] == serveFlag {
		if err := runServer(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, "transports: the server:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.BoolVar(&o.json, "json", false, "print one JSON object")
	flag.DurationVar(&o.each, "each", time.Second, "how long to measure each road, and again to cut it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "transports:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	json bool
	each time.Duration
}

// report is what -json prints.
type report struct {
	Rows     []*row   `json:"rows"`
	Problems []string `json:"problems,omitempty"`
	OK       bool     `json:"ok"`
}

// row is one road in one era.
type row struct {
	Road     string `json:"road"`
	About    string `json:"about"`
	Protocol string `json:"protocol,omitempty"`
	// Missing says why the road is not to be had here; the rest is empty then.
	Missing string `json:"missing,omitempty"`
	// Same says that every call had the result that it had by the first road.
	Same  bool `json:"same"`
	Calls int  `json:"calls"`
	// P50 and P99 are of calls one after the other, in microseconds.
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
	Cut cutting `json:"cut"`
}

// cutting is what came of a road that was cut under load.
type cutting struct {
	Cuts    int    `json:"cuts"`
	Calls   int64  `json:"calls"`
	Failed  int64  `json:"failed"`
	Replays uint64 `json:"replays"`
	Opened  uint64 `json:"sessions_opened"`
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
	var r report
	out := show{w}
	if o.json {
		out.w = nil
	}
	if err := travel(ctx, out, o, &r); err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	r.OK = len(r.Problems) == 0
	if o.json {
		if err := json.NewEncoder(w).Encode(r); err != nil {
			return err
		}
	} else if err := table(w, r.Rows); err != nil {
		return err
	}
	if !r.OK {
		return fmt.Errorf("something did not hold: %q", r.Problems)
	}
	out.printf("\nThe same calls had the same results by every road, and no call failed of a cut.\n")
	return nil
}

func table(w io.Writer, rows []*row) error {
	fmt.Fprintf(w, "\np50 and p99 are of calls one after the other; then %d callers on %d sessions call while the road is cut.\n\n", callers, sessions)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "road\tprotocol\tsame results\tp50 µs\tp99 µs\tcuts\tcalls meanwhile\tfailed\trepeated\t")
	for _, r := range rows {
		if r.Missing != "" {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%v\t%.0f\t%.0f\t%d\t%d\t%d\t%d\t\n",
			r.Road, r.Protocol, r.Same, r.P50, r.P99, r.Cut.Cuts, r.Cut.Calls, r.Cut.Failed, r.Cut.Replays)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		if r.Missing != "" {
			fmt.Fprintf(w, "%s: not shown, %s\n", r.Road, r.Missing)
		}
	}
	return nil
}
