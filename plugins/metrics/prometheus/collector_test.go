package poolprom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// conn is what the pools of these tests hold.
type conn struct{}

func (*conn) Close() error { return nil }

// fixed is a pool of which only the statistics matter.
type fixed[S any] struct{ s S }

func (f fixed[S]) Stats() S { return f.s }

func newCollector(t *testing.T, cfg Config) *Collector {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newPool(t *testing.T, cfg core.Config[*conn]) *core.Pool[*conn] {
	t.Helper()
	if cfg.Open == nil {
		cfg.Open = func(context.Context) (*conn, error) { return &conn{}, nil }
	}
	p, err := core.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// gather is what a registry makes of a collector, by name. A pedantic one checks
// each metric against its description.
func gather(t *testing.T, c *Collector) map[string]*dto.MetricFamily {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*dto.MetricFamily, len(families))
	for _, f := range families {
		all[f.GetName()] = f
	}
	return all
}

// value is that of the only series with these labels.
func value(t *testing.T, f *dto.MetricFamily, labels map[string]string) float64 {
	t.Helper()
	var found []float64
	for _, m := range f.GetMetric() {
		got := make(map[string]string)
		for _, l := range m.GetLabel() {
			got[l.GetName()] = l.GetValue()
		}
		matches := true
		for k, v := range labels {
			matches = matches && got[k] == v
		}
		if matches {
			found = append(found, m.GetCounter().GetValue()+m.GetGauge().GetValue())
		}
	}
	if len(found) != 1 {
		t.Errorf("%s%v: %d series, want 1", f.GetName(), labels, len(found))
		return math.NaN()
	}
	return found[0]
}

func TestEveryNumberOfStatsIsReadBackWithItsType(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{ConstLabels: prometheus.Labels{"zone": "b", "app": "x"}})
	s := mcpool.Stats{Calls: 3, ListHits: 3, ListMisses: 1, Ready: true, Uptime: time.Minute}
	s.Sessions = core.Stats{Live: 5, Idle: 2, Acquired: 9, Max: -1, Circuit: core.BreakerOpen}
	s.Sessions.ClosedBy[core.ReasonExpired] = 4
	if err := c.AddMCP("tools", fixed[mcpool.Stats]{s}); err != nil {
		t.Fatal(err)
	}
	if err := c.Add("db", fixed[core.Stats]{core.Stats{Live: 1, Max: 7}}); err != nil {
		t.Fatal(err)
	}
	families := gather(t, c)
	for _, m := range mcpool.Measures() {
		f := families["mcpool_"+Name(m.Name, m.Kind)]
		if f == nil {
			t.Errorf("%s is not shown", m.Name)
			continue
		}
		wantType := dto.MetricType_GAUGE
		if m.Kind == core.Counter {
			wantType = dto.MetricType_COUNTER
		}
		want := m.Of(&s)
		if m.Kind == core.Limit && want < 0 {
			want = math.Inf(1)
		}
		if got := value(t, f, map[string]string{"pool": "tools", "zone": "b", "app": "x"}); f.GetType() != wantType || got != want {
			t.Errorf("%s is %v of type %v, want %v of %v", f.GetName(), got, f.GetType(), want, wantType)
		}
	}
	if got := value(t, families["mcpool_max_sessions"], map[string]string{"pool": "db"}); got != 7 {
		t.Errorf("the limit of db is %v", got)
	}
	if got := value(t, families["mcpool_closed_total"], map[string]string{"pool": "tools", "reason": "expired"}); got != 4 {
		t.Errorf("closed because of age: %v, want 4", got)
	}
	c.Remove("tools")
	if f := gather(t, c)["mcpool_calls_total"]; f != nil {
		t.Errorf("a pool that was removed is shown: %v", f)
	}
}

// The names that the issue and dashboards rely on.
func TestNamesOfTheSeedAreThere(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{Prefix: "p_"})
	if err := c.AddMCP("m", fixed[mcpool.Stats]{}); err != nil {
		t.Fatal(err)
	}
	families := gather(t, c)
	names := strings.Fields(`active_sessions idle_sessions total_sessions avg_borrow_wait_seconds cache_hit_rate uptime_seconds
		circuit_state degraded waiting`)
	for n := range strings.FieldsSeq(`borrow return cache_hits cache_misses cache_refresh cache_waiters reconnect retry_attempts
		health_check health_check_failures recycled sessions_created sessions_destroyed errors closed stale_releases leaks`) {
		names = append(names, n+"_total")
	}
	for _, n := range names {
		if families["p_"+n] == nil {
			t.Errorf("no %s", n)
		}
	}
}

func TestTheDocsTellHowManySeriesAPoolHas(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	if err := c.AddMCP("m", fixed[mcpool.Stats]{}); err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, f := range gather(t, c) {
		series += len(f.GetMetric())
	}
	raw, err := os.ReadFile("../../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("gathering 1000 pools with %d series each", series); !strings.Contains(string(raw), want) {
		t.Errorf("docs/performance.md does not say %q", want)
	}
}

func TestPromlintFindsNothing(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	if err := c.AddMCP("m", fixed[mcpool.Stats]{}); err != nil {
		t.Fatal(err)
	}
	use(c)
	var families []*dto.MetricFamily
	for _, f := range gather(t, c) {
		families = append(families, f)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// use observes one of each time.
func use(c *Collector) {
	h := c.MCPHooks("m")
	ctx := context.Background()
	h.Core.AcquireEnd(ctx, core.AcquireEnd{Wait: 20 * time.Millisecond})
	h.Core.AcquireEnd(ctx, core.AcquireEnd{Wait: time.Second, Err: &core.ExhaustedError{}})
	h.Core.Released(core.Released{Held: 30 * time.Millisecond})
	h.Core.OpenEnd(ctx, core.OpenEnd{Duration: time.Second, Err: errors.New("refused")})
	h.Core.OpenEnd(ctx, core.OpenEnd{Duration: 2 * time.Second})
	h.CallEnd(ctx, mcpool.CallEnd{CallStart: mcpool.CallStart{Method: "tools/call", Tool: "echo", Listed: true}, Duration: 2 * time.Second})
	h.CallEnd(ctx, mcpool.CallEnd{CallStart: mcpool.CallStart{Method: "tools/call", Tool: "invented"}, Err: io.EOF})
	h.CallEnd(ctx, mcpool.CallEnd{CallStart: mcpool.CallStart{Method: "tools/list"}})
}

func TestTimesAreNativeHistogramsWithClassicBucketsBeside(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	use(c)
	families := gather(t, c)
	for name, want := range map[string]struct {
		series int
		count  uint64
		sum    float64
	}{
		"mcpool_borrow_wait_duration_seconds": {3, 2, 1.02},
		"mcpool_hold_duration_seconds":        {1, 1, .03},
		"mcpool_open_duration_seconds":        {2, 2, 3},
		"mcpool_call_duration_seconds":        {3, 3, 2},
	} {
		f := families[name]
		if f == nil || f.GetType() != dto.MetricType_HISTOGRAM || len(f.GetMetric()) != want.series {
			t.Errorf("%s: %v, want a histogram with %d series", name, f, want.series)
			continue
		}
		var count uint64
		var sum float64
		for _, m := range f.GetMetric() {
			h := m.GetHistogram()
			count, sum = count+h.GetSampleCount(), sum+h.GetSampleSum()
			if h.Schema == nil || len(h.GetBucket()) == 0 {
				t.Errorf("%s: schema %v and %d classic buckets, want both", name, h.Schema, len(h.GetBucket()))
			}
		}
		if count != want.count || math.Abs(sum-want.sum) > 1e-9 {
			t.Errorf("%s: %d observations, %v in sum, want %d and %v", name, count, sum, want.count, want.sum)
		}
	}
	c = newCollector(t, Config{Buckets: []float64{}})
	use(c)
	if h := gather(t, c)["mcpool_hold_duration_seconds"].GetMetric()[0].GetHistogram(); len(h.GetBucket()) != 0 || h.Schema == nil {
		t.Errorf("without Buckets: %d classic ones, schema %v", len(h.GetBucket()), h.Schema)
	}
}

func TestToolsThatTheServerDoesNotListAreOther(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{MaxTools: 2})
	h := c.MCPHooks("m")
	for i := range 1000 {
		for _, listed := range []bool{true, false} {
			e := mcpool.CallEnd{CallStart: mcpool.CallStart{Method: "tools/call", Tool: fmt.Sprint("t", i), Listed: listed}}
			h.CallEnd(t.Context(), e)
		}
	}
	got := make(map[string]uint64)
	for _, m := range gather(t, c)["mcpool_call_duration_seconds"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "tool" {
				got[l.GetValue()] += m.GetHistogram().GetSampleCount()
			}
		}
	}
	if len(got) != 3 || got["t0"] != 1 || got["t1"] != 1 || got["_other"] != 1998 {
		t.Errorf("tools: %v, want t0, t1 and _other", got)
	}
}

func TestFaultsOfAConfigAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(Config{
		Prefix: "a-b", ConstLabels: prometheus.Labels{"pool": "x", "né": "y"}, Buckets: []float64{2, 1}, MaxTools: -2,
	})
	for _, field := range []string{"Prefix", `"pool"`, `"né"`, "Buckets", "MaxTools"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in: %v", field, err)
		}
	}
	c := newCollector(t, Config{})
	if err := c.Add("a", fixed[core.Stats]{}); err != nil {
		t.Error(err)
	}
	if err := c.AddMCP("a", fixed[mcpool.Stats]{}); !errors.Is(err, ErrName) {
		t.Errorf("the same name again: %v", err)
	}
}

// A real pool and a Keyed under load, scraped over HTTP in both formats.
func TestPoolsUnderLoadAreScrapedConcurrentSafe(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	p := newPool(t, core.Config[*conn]{Max: 4, Hooks: c.Hooks("db")})
	k, err := core.NewKeyed(core.KeyedConfig[string, *conn]{
		Open: func(context.Context, string) (*conn, error) { return &conn{}, nil },
		Pool: core.Config[*conn]{Max: 2, Hooks: c.Hooks("tenants")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close(context.Background()) }()
	for name, p := range map[string]interface{ Stats() core.Stats }{"db": p, "tenants": k} {
		if err := c.Add(name, p); err != nil {
			t.Fatal(err)
		}
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	srv := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()

	const each = 300
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for range each {
				if err := p.Do(t.Context(), func(context.Context, *conn) error { return nil }); err != nil {
					t.Error(err)
				}
				l, err := k.Acquire(t.Context(), fmt.Sprint(g%3))
				if err != nil {
					t.Error(err)
				}
				l.Release()
			}
		})
	}
	for range 20 {
		scrape(t, srv.URL)
	}
	all.Wait()
	families := scrape(t, srv.URL)
	for _, name := range []string{"db", "tenants"} {
		pool := map[string]string{"pool": name}
		if got := value(t, families["mcpool_borrow_total"], pool); got != 8*each {
			t.Errorf("%s: %v leases, want %d", name, got, 8*each)
		}
		if got := value(t, families["mcpool_leases"], pool); got != 0 {
			t.Errorf("%s: %v leases out", name, got)
		}
	}
	for _, m := range families["mcpool_hold_duration_seconds"].GetMetric() {
		if n := m.GetHistogram().GetSampleCount(); n != 8*each {
			t.Errorf("%d holds observed, want %d", n, 8*each)
		}
	}
}

func scrape(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return families
}

func TestAWarmLeaseThatIsObservedAllocatesNothing(t *testing.T) {
	c := newCollector(t, Config{})
	p := newPool(t, core.Config[*conn]{Max: 1, Hooks: c.Hooks("db")})
	if err := c.Add("db", p); err != nil {
		t.Fatal(err)
	}
	once := func() {
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
	for range 1000 { // the native buckets that holds fall into come to be
		once()
	}
	if n := testing.AllocsPerRun(2000, once); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLabelsAreSorted(t *testing.T) {
	t.Parallel()
	name := func(n string) *dto.LabelPair { return &dto.LabelPair{Name: &n} }
	got := sorted([]*dto.LabelPair{name("a"), name("z")}, name("pool"))
	if !slices.IsSortedFunc(got, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) }) {
		t.Errorf("%v", got)
	}
}
