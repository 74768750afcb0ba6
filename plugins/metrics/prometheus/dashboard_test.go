package poolprom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// emitted returns every name a query may use, and for each the labels its series
// have, from a collector that shows a pool and has seen everything happen.
func emitted(t *testing.T) map[string][]string {
	t.Helper()
	c := newCollector(t, Config{})
	if err := c.AddMCP("p", fixed[mcpool.Stats]{}); err != nil {
		t.Fatal(err)
	}
	h, ctx := c.MCPHooks("p"), context.Background()
	h.Core.AcquireEnd(ctx, core.AcquireEnd{})
	h.Core.Released(core.Released{})
	h.Core.OpenEnd(ctx, core.OpenEnd{})
	h.CallEnd(ctx, mcpool.CallEnd{})
	names := make(map[string][]string)
	for name, f := range gather(t, c) {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if f.GetType() == dto.MetricType_HISTOGRAM {
			names[name+"_count"], names[name+"_sum"], names[name+"_bucket"] = labels, labels, append(slices.Clone(labels), "le")
		} else {
			names[name] = labels
		}
	}
	return names
}

var (
	quoted    = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	selectors = regexp.MustCompile(`([A-Za-z_:][A-Za-z0-9_:]*)\s*\{([^{}]*)\}`)
	ranges    = regexp.MustCompile(`\[[^\]]*\]`)
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)`)
	word      = regexp.MustCompile(`[A-Za-z_:][A-Za-z0-9_:]*(\s*\()?`)
	matcher   = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*""\s*$`)
)

// checkQuery tells which names and labels of a query nothing emits. It knows as much
// of PromQL as the files beside it use (of a label in "by" it wants that all metrics
// of the query have it); examples/observe has a Prometheus read them.
func checkQuery(query string, names map[string][]string) (used []string, err error) {
	var errs []error
	q := quoted.ReplaceAllString(query, `""`)
	q = ranges.ReplaceAllString(q, " ")
	for _, m := range selectors.FindAllStringSubmatch(q, -1) {
		for part := range strings.SplitSeq(m[2], ",") {
			label := matcher.FindStringSubmatch(part)
			if label == nil {
				errs = append(errs, fmt.Errorf("%q is no matcher", part))
			} else if known := names[m[1]]; known != nil && !slices.Contains(known, label[1]) {
				errs = append(errs, fmt.Errorf("%s has no label %s", m[1], label[1]))
			}
		}
	}
	q = selectors.ReplaceAllString(q, "$1 ")
	var groups []string
	for _, m := range grouping.FindAllStringSubmatch(q, -1) {
		for label := range strings.SplitSeq(m[1], ",") {
			groups = append(groups, strings.TrimSpace(label))
		}
	}
	q = grouping.ReplaceAllString(q, " ")
	keywords := []string{"and", "or", "unless", "bool", "Inf", "offset", "sum", "min", "max", "avg", "count"}
	for _, w := range word.FindAllString(q, -1) {
		if strings.HasSuffix(w, "(") || slices.Contains(keywords, w) {
			continue
		}
		if names[w] == nil {
			errs = append(errs, fmt.Errorf("nothing emits %s", w))
			continue
		}
		used = append(used, w)
		for _, label := range groups {
			if !slices.Contains(names[w], label) {
				errs = append(errs, fmt.Errorf("%s has no label %s", w, label))
			}
		}
	}
	if len(used) == 0 {
		errs = append(errs, errors.New("it names no metric"))
	}
	return used, errors.Join(errs...)
}

type dashboard struct {
	Panels []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr, RefID string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	raw, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEveryQueryOfTheDashboardNamesWhatIsEmitted(t *testing.T) {
	t.Parallel()
	names, d := emitted(t), readDashboard(t)
	queries, ids := 0, make(map[int]bool)
	for i, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			queries++
			if _, err := checkQuery(target.Expr, names); err != nil {
				t.Errorf("panel %q: %s: %v", p.Title, target.Expr, err)
			}
			if !strings.Contains(target.Expr, `pool=~"$pool"`) {
				t.Errorf("panel %q: %s shows all pools, whatever was chosen", p.Title, target.Expr)
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		for _, o := range d.Panels[:i] {
			a, b := p.GridPos, o.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("panel %q lies on %q", p.Title, o.Title)
			}
		}
	}
	if queries < 20 {
		t.Errorf("only %d queries were found", queries)
	}
	for _, v := range d.Templating.List {
		if query, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			name, label, _ := strings.Cut(strings.TrimSuffix(query, ")"), ", ")
			if !slices.Contains(names[name], label) {
				t.Errorf("variable %s: nothing emits %s with %s", v.Name, name, label)
			}
		}
	}
}

var (
	alertLine = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)
	exprLine  = regexp.MustCompile(`(?m)^        expr: (\S.*)$`)
	labelUsed = regexp.MustCompile(`\$labels\.(\w+)`)
)

func TestEveryAlertNamesWhatIsEmitted(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names, text := emitted(t), string(raw)
	alerts, exprs := alertLine.FindAllStringSubmatch(text, -1), exprLine.FindAllStringSubmatch(text, -1)
	if len(alerts) < 10 || len(alerts) != len(exprs) || strings.Count(text, "alert:") != len(alerts) || strings.Count(text, "expr:") != len(exprs) {
		t.Fatalf("%d alerts and %d expressions were found: write each on a line of its own", len(alerts), len(exprs))
	}
	for i, e := range exprs {
		if _, err := checkQuery(e[1], names); err != nil {
			t.Errorf("alert %s: %s: %v", alerts[i][1], e[1], err)
		}
	}
	for _, l := range labelUsed.FindAllStringSubmatch(text, -1) {
		if l[1] != "pool" {
			t.Errorf("a text uses the label %s", l[1])
		}
	}
}

// What the check must find, so that it is known to check.
func TestAQueryThatNamesWhatNobodyEmitsIsFound(t *testing.T) {
	t.Parallel()
	names := emitted(t)
	for query, want := range map[string]string{
		`mcpool_readyy == 0`:      "nothing emits mcpool_readyy",
		`rate(mcpool_borrow[5m])`: "nothing emits mcpool_borrow",
		`mcpool_ready{pol="x"}`:   "mcpool_ready has no label pol",
		`mcpool_ready{pool}`:      "is no matcher",
		`sum by (tol) (rate(mcpool_call_duration_seconds_count[5m]))`:    "has no label tol",
		`sum by (le) (rate(mcpool_call_duration_seconds_count[5m]))`:     "has no label le",
		`histogram_quantile(0.9, rate(mcpool_call_duration_bucket[1m]))`: "nothing emits mcpool_call_duration_bucket",
		`up == 0`:   "nothing emits up",
		`vector(1)`: "names no metric",
	} {
		if _, err := checkQuery(query, names); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
	used, err := checkQuery(`sum by (pool) (rate(mcpool_call_duration_seconds_bucket{pool=~"$pool", tool!=""}[$__rate_interval])) > 0 and mcpool_ready < +Inf`, names)
	if want := []string{"mcpool_call_duration_seconds_bucket", "mcpool_ready"}; err != nil || !slices.Equal(slices.Sorted(slices.Values(used)), want) {
		t.Errorf("used are %v, %v", used, err)
	}
	if len(slices.Collect(maps.Keys(names))) < 50 {
		t.Errorf("only %d names are emitted", len(names))
	}
}
