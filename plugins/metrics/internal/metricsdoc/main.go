// Command metricsdoc writes docs/metrics.md, the table of all names, from the tables
// that the code itself uses. With -check it writes nothing and fails if the page is out
// of date. It is not in .ci/tools because it needs the packages that it writes about.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	poolotel "github.com/go-mcpool/mcpool/plugins/metrics/otel"
	poolprom "github.com/go-mcpool/mcpool/plugins/metrics/prometheus"
)

const intro = `<!-- Generated from the code by "make generate". Do not edit. -->

# Metrics and spans

Everything that a pool tells of itself, by name. "sessions" are resources, whatever the
pool holds. Names in JSON are those of ` + "`Stats`" + `, which is also what expvar shows.

## Numbers of Stats

Prometheus has them after the prefix ` + "`mcpool_`" + `, with the label ` + "`pool`" + `; package export
after ` + "`mcpool.`" + `.

| JSON | Prometheus | Type | Any pool | Meaning |
|---|---|---|---|---|
`

func main() {
	log.SetFlags(0)
	log.SetPrefix("metricsdoc: ")
	root := flag.String("root", ".", "folder of the repository")
	check := flag.Bool("check", false, "fail if the page is out of date, write nothing")
	flag.Parse()
	if err := run(filepath.Join(*root, "docs", "metrics.md"), *check); err != nil {
		log.Fatal(err)
	}
}

func run(path string, check bool) error {
	want := render()
	if !check {
		return os.WriteFile(path, want, 0o644) //nolint:gosec,wrapcheck // a page for everybody
	}
	got, err := os.ReadFile(path) //nolint:gosec // the page
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	if !bytes.Equal(got, want) {
		return errors.New(path + ` is out of date, run "make generate"`)
	}
	return nil
}

func render() []byte {
	var b bytes.Buffer
	b.WriteString(intro)
	ofCore := make(map[string]bool)
	for _, m := range core.Measures() {
		ofCore[m.Name] = true
	}
	for _, m := range mcpool.Measures() {
		kind, anyPool := "gauge", ""
		if m.Kind == core.Counter {
			kind = "counter"
		}
		if ofCore[m.Name] {
			anyPool = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", m.JSONKey(), poolprom.Name(m.Name, m.Kind), kind, anyPool, m.Help)
	}
	fmt.Fprintf(&b, "| `closed_by` | `closed_total` {reason} | counter | yes | Resources closed, by reason: %s. |\n", reasons())
	b.WriteString("\nA limit that is not there is -1 in JSON and +Inf in Prometheus.\n")

	b.WriteString("\n## Times in Prometheus\n\nNative histograms, with classic buckets beside. They need `Collector.Hooks` or `MCPHooks`.\n\n" +
		"| Prometheus | Labels | Meaning |\n|---|---|---|\n")
	for _, h := range poolprom.Histograms() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", h.Name, strings.Join(append([]string{"pool"}, h.Labels...), ", "), h.Help)
	}
	b.WriteString("\n## OpenTelemetry: metrics\n\n| Name | Instrument | Unit | Meaning |\n|---|---|---|---|\n")
	for _, m := range poolotel.Metrics() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Instrument, m.Unit, m.Help)
	}
	b.WriteString("\n## OpenTelemetry: spans\n\n| Name | Kind | Meaning |\n|---|---|---|\n")
	for _, s := range poolotel.Spans() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, s.Kind, s.Help)
	}
	return b.Bytes()
}

func reasons() string {
	rs := core.CloseReasons()
	names := make([]string, len(rs))
	for i, r := range rs {
		names[i] = r.String()
	}
	return strings.Join(names, ", ")
}
