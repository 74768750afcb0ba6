package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/go-mcpool/mcpool/mcp/debug"
)

// get asks for a page and returns its body.
func (w *watched) get(ctx context.Context, path, accept string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("%s: status %s", path, res.Status)
	}
	return res.Body, nil
}

// shown are the lines of /metrics that are printed, by their beginning.
var shown = []string{
	"mcpool_ready", "mcpool_total_sessions", "mcpool_max_sessions", "mcpool_borrow_total", "mcpool_waits_total", "mcpool_calls_total",
	"mcpool_call_errors_total", "mcpool_retry_attempts_total", "mcpool_reconnect_total", "mcpool_open_failures_total", "mcpool_circuit_opens_total",
}

func (w *watched) printMetrics(ctx context.Context, out io.Writer) error {
	body, err := w.get(ctx, "/metrics", "text/plain")
	if err != nil {
		return err
	}
	defer body.Close()
	found := 0
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		for _, name := range shown {
			if strings.HasPrefix(lines.Text(), name+"{") {
				fmt.Fprintln(out, " ", lines.Text())
				found++
			}
		}
	}
	if found != len(shown) {
		return errors.Join(lines.Err(), fmt.Errorf("/metrics has %d of the %d metrics that this example shows", found, len(shown)))
	}
	return lines.Err()
}

func (w *watched) printPage(ctx context.Context, out io.Writer) error {
	body, err := w.get(ctx, "/debug/mcp", "application/json")
	if err != nil {
		return err
	}
	defer body.Close()
	var page struct {
		Events []debug.Event `json:"events"`
		Calls  []debug.Calls `json:"calls"`
	}
	if err := json.NewDecoder(body).Decode(&page); err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  call\tcount\terrors\ttool errors\tp50\tp99")
	for _, c := range page.Calls {
		fmt.Fprintf(t, "  %s\t%d\t%d\t%d\t%.1f ms\t%.1f ms\n", c.Name, c.Count, c.Failed, c.ToolFailed, c.P50*1e3, c.P99*1e3)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\n  events, the newest first")
	for _, e := range page.Events {
		fmt.Fprintf(out, "  %s  ×%d  %s  %.90s\n", e.Last.Format("15:04:05.000"), e.Count, e.What, e.Cause)
	}
	return nil
}
