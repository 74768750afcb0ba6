package poolcloudwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

func newSink(t *testing.T, e *endpoint, change func(*Config)) *Sink {
	t.Helper()
	cfg := e.config()
	if change != nil {
		change(&cfg)
	}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func batch(ms ...metrics.Metric) metrics.Batch {
	return metrics.Batch{Scopes: []metrics.Scope{{Metrics: ms}}}
}

// borrowed is a counter's total at a time.
func borrowed(total float64, start, at time.Time) metrics.Metric {
	return metrics.Metric{Name: "mcpool.borrow", Type: metrics.Sum, Monotonic: true, Numbers: []metrics.Number{
		{Attributes: []metrics.Attribute{{Key: "pool", Value: "p"}}, Start: start, Time: at, Value: total},
	}}
}

func idle(n float64, at time.Time) metrics.Metric {
	return metrics.Metric{Name: "mcpool.idle_sessions", Numbers: []metrics.Number{{Time: at, Value: n}}}
}

func deliver(t *testing.T, s *Sink, b metrics.Batch) metrics.Result {
	t.Helper()
	res, err := s.Export(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestPublishSendsTheSixteenOnce(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	cfg := e.config()
	cfg.Namespace, cfg.Dimensions, cfg.AWS.Region = "Agents/Test", map[string]string{"Stage": "prod"}, "another"
	// Of no use for what is sent once, and no harm.
	cfg.Resume, cfg.StateFile = true, filepath.Join(t.TempDir(), "missing", "sent.json")
	s := mcpool.Stats{Name: "tools", Uptime: time.Minute, ListHits: 3, ListMisses: 1, CallErrors: 2, Replays: 4}
	s.Sessions.Live, s.Sessions.Idle = 5, 2
	s.Sessions.Acquired, s.Sessions.Released, s.Sessions.WaitTime = 10, 7, 20*time.Second
	s.Sessions.ProbeFailures, s.Sessions.Opened, s.Sessions.Closed = 6, 8, 3
	s.Sessions.ClosedBy[3] = 1 // expired
	if err := Publish(t.Context(), s, cfg); err != nil {
		t.Fatal(err)
	}
	got := e.take()
	if len(got) != 1 || got[0].namespace != "Agents/Test" {
		t.Fatalf("requests %+v", got)
	}
	values, units := make(map[string]float64), make(map[string]string)
	for _, d := range got[0].data {
		values[d.name], units[d.name] = d.value, d.unit
		if diff := cmp.Diff(map[string]string{"Pool": "tools", "Stage": "prod"}, d.dimensions); diff != "" {
			t.Errorf("%s: %s", d.name, diff)
		}
	}
	if diff := cmp.Diff(map[string]float64{
		"ActiveSessions": 3, "IdleSessions": 2, "TotalSessions": 5, "BorrowCount": 10, "ReturnCount": 7, "CacheHits": 3, "CacheMisses": 1,
		"Errors": 2, "RetryAttempts": 4, "HealthCheckFailures": 6, "SessionsCreated": 8, "SessionsDestroyed": 3, "RecycledCount": 1,
		"AvgBorrowWaitSeconds": 2, "CacheHitRate": .75, "UptimeSeconds": 60,
	}, values); diff != "" {
		t.Error(diff)
	}
	if len(got[0].data) != 16 || units["UptimeSeconds"] != "Seconds" || units["BorrowCount"] != "Count" || units["CacheHitRate"] != "None" {
		t.Errorf("%d numbers, units %v", len(got[0].data), units)
	}
}

func TestCountersAreSentAsDifferences(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := newSink(t, e, nil)
	now := time.Now()
	start := now.Add(-time.Hour)
	at := func(minute int) time.Time { return now.Add(time.Duration(minute-30) * time.Minute) }
	for i, step := range []struct {
		total float64
		start time.Time
		want  float64
	}{
		{10, start, 10},
		{15, start.Add(time.Nanosecond), 5}, // the start is computed anew each time
		{15, start, 0},
		{4, at(2).Add(time.Second), 4}, // began anew
		{6, at(2).Add(time.Second), 2},
		{7, at(4).Add(time.Second), 7}, // began anew, and has passed where it was
	} {
		deliver(t, s, batch(borrowed(step.total, step.start, at(i)), idle(step.total, at(i))))
		if got := e.values(); got["BorrowCount"] != step.want || got["IdleSessions"] != step.total {
			t.Errorf("step %d: %v, want a difference of %v", i, got, step.want)
		}
	}
}

func TestNothingIsLostWithABatchThatDidNotArrive(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := newSink(t, e, nil)
	now := time.Now()
	start := now.Add(-time.Hour)
	deliver(t, s, batch(borrowed(10, start, now.Add(-3*time.Minute))))
	e.take()
	e.refuseWith(500, "InternalServiceFault")
	if _, err := s.Export(t.Context(), batch(borrowed(13, start, now.Add(-2*time.Minute)))); err == nil || errors.Is(err, metrics.ErrPermanent) {
		t.Fatalf("a fault of the service: %v", err)
	}
	deliver(t, s, batch(borrowed(20, start, now.Add(-time.Minute))))
	if got := e.values(); got["BorrowCount"] != 10 {
		t.Errorf("%v, want all that came since the last that arrived", got)
	}
}

func TestABatchThatArrivedInPartIsNotSentTwice(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := newSink(t, e, func(c *Config) { c.All = true })
	now := time.Now()
	var ms []metrics.Metric
	for i := range 2500 {
		ms = append(ms, metrics.Metric{Name: fmt.Sprintf("mcpool.m_%d", i), Type: metrics.Sum, Monotonic: true, Unit: "1", Numbers: []metrics.Number{{Start: now.Add(-time.Hour), Time: now, Value: 1}}})
	}
	e.refuseWith(503, "", "ServiceUnavailable")
	if _, err := s.Export(t.Context(), batch(ms...)); err == nil {
		t.Fatal("a request was refused, and Export says nothing")
	}
	if got := e.take(); len(got) != 1 || len(got[0].data) != 1000 || !got[0].gzip {
		t.Fatalf("%d requests arrived", len(got))
	}
	deliver(t, s, batch(ms...))
	got := e.take()
	names := make(map[string]bool)
	for _, r := range got {
		for _, d := range r.data {
			names[d.name] = true
		}
	}
	if len(got) != 2 || len(names) != 1500 || names["M999"] || !names["M1000"] || !names["M2499"] {
		t.Errorf("%d requests with %d names", len(got), len(names))
	}
}

func TestRequestsStayBelowTheLimitOfBytes(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t) // which refuses more than a megabyte
	s := newSink(t, e, func(c *Config) {
		c.Dimensions = make(map[string]string)
		for i := range 5 {
			c.Dimensions[fmt.Sprintf("D%d", i)] = strings.Repeat("x", 1000)
		}
	})
	now := time.Now()
	m := idle(1, now)
	m.Numbers = nil
	for i := range 600 {
		m.Numbers = append(m.Numbers, metrics.Number{Attributes: []metrics.Attribute{{Key: "pool", Value: fmt.Sprint(i)}}, Time: now, Value: 1})
	}
	deliver(t, s, batch(m))
	got, n := e.take(), 0
	for _, r := range got {
		n += len(r.data)
	}
	if len(got) < 4 || n != 600 {
		t.Errorf("%d requests with %d numbers", len(got), n)
	}
}

func TestWhatCloudWatchCannotTakeIsRejectedAndTheRestSent(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := newSink(t, e, func(c *Config) { c.All = true })
	now := time.Now()
	number := func(v float64, at time.Time) metrics.Number { return metrics.Number{Time: at, Value: v} }
	many := number(1, now)
	for i := range 31 {
		many.Attributes = append(many.Attributes, metrics.Attribute{Key: fmt.Sprint(i), Value: "x"})
	}
	res := deliver(t, s, batch(
		metrics.Metric{Name: "mcpool.a", Numbers: []metrics.Number{
			number(math.NaN(), now), number(math.Inf(1), now), number(math.Ldexp(1, 361), now), many,
			number(1, now.Add(-15*24*time.Hour)), number(1, now.Add(3*time.Hour)),
		}},
		metrics.Metric{Name: "mcpool.h", Type: metrics.Histogram, Histograms: make([]metrics.Distribution, 2)},
		metrics.Metric{Name: "other.some_seconds", Unit: "s", Numbers: []metrics.Number{{Time: now, Value: 2, Attributes: []metrics.Attribute{
			{Key: "odd", Value: "ä\n" + strings.Repeat("x", 2000)}, {Key: "empty", Value: ""}, {Key: "blank", Value: "  "}, {Key: ":colon", Value: "v"},
		}}}},
	))
	if res.Rejected != 8 || res.Reason == "" {
		t.Errorf("%+v, want 8 rejected", res)
	}
	got := e.take()
	if len(got) != 1 || len(got[0].data) != 1 {
		t.Fatalf("%+v", got)
	}
	d := got[0].data[0]
	if d.name != "OtherSomeSeconds" || d.value != 2 || d.unit != "Seconds" || len(d.dimensions) != 2 || d.dimensions["colon"] != "v" ||
		!strings.HasPrefix(d.dimensions["odd"], "??x") {
		t.Errorf("%+v", d)
	}
}

func TestADimensionIsThereOnceAndTheOperatorsComeFirst(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t) // which takes none twice
	s := newSink(t, e, func(c *Config) { c.Dimensions = map[string]string{"Stage": "prod"} })
	m := idle(1, time.Now())
	for _, key := range []string{"Stage", "k", ":k", "k", "pool", "Pool"} {
		m.Numbers[0].Attributes = append(m.Numbers[0].Attributes, metrics.Attribute{Key: key, Value: "from " + key})
	}
	deliver(t, s, batch(m))
	want := map[string]string{"Stage": "prod", "k": "from k", "Pool": "from pool"}
	if got := e.take(); len(got) != 1 || len(got[0].data) != 1 || !maps.Equal(got[0].data[0].dimensions, want) {
		t.Errorf("sent %+v, want the dimensions %v", got, want)
	}
}

func TestNoPrintOfASinkShowsAKey(t *testing.T) {
	t.Parallel()
	s := newSink(t, newEndpoint(t), nil)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("sink", "sink", s)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q %d", s, s, s, s, s, s), log.String()} {
		if strings.Contains(text, secret) || !strings.Contains(text, "poolcloudwatch.Sink{mcpool in "+region+"}") {
			t.Errorf("printed is %s", text)
		}
	}
}

func TestOnlyNamesOfTheTableAreSentUnlessAllIsSet(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	now := time.Now()
	b := batch(idle(1, now), metrics.Metric{Name: "mcpool.open_failures", Type: metrics.Sum, Monotonic: true, Numbers: []metrics.Number{{Time: now, Value: 3}}},
		metrics.Metric{Name: "borrow", Numbers: []metrics.Number{{Time: now, Value: 3}}})
	deliver(t, newSink(t, e, nil), b)
	if got := e.values(); len(got) != 1 || got["IdleSessions"] != 1 {
		t.Errorf("sent %v", got)
	}
	deliver(t, newSink(t, e, func(c *Config) { c.All = true }), b)
	if got := e.values(); len(got) != 3 || got["OpenFailures"] != 3 {
		t.Errorf("sent %v with All", got)
	}
}

func TestResumeBeginsAtTheFirstTotal(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := newSink(t, e, func(c *Config) { c.Resume = true })
	now := time.Now()
	start := now.Add(-time.Hour)
	deliver(t, s, batch(borrowed(100, start, now.Add(-time.Minute)), idle(1, now)))
	if got := e.values(); len(got) != 1 {
		t.Errorf("sent %v", got)
	}
	deliver(t, s, batch(borrowed(103, start, now)))
	if got := e.values(); got["BorrowCount"] != 3 {
		t.Errorf("sent %v", got)
	}
}

func TestErrorsSayWhetherTryingAgainHelps(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := newSink(t, e, nil)
	for code, want := range map[string]bool{
		"AccessDenied": true, "UnrecognizedClientException": true, "InvalidParameterValueException": true, "MissingRequiredParameterException": true,
		"ThrottlingException": false, "InternalServiceFault": false, "ExpiredTokenException": false, "RequestTimeout": false,
	} {
		e.refuseWith(400, code)
		_, err := s.Export(t.Context(), batch(idle(1, time.Now())))
		if err == nil || errors.Is(err, metrics.ErrPermanent) != want || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v", code, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error has the secret", code)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Export(ctx, batch(idle(1, time.Now()))); !errors.Is(err, context.Canceled) || errors.Is(err, metrics.ErrPermanent) {
		t.Errorf("with a context that is over: %v", err)
	}
}

func TestSeriesThatNobodyHasAnyMoreAreForgotten(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := newSink(t, e, nil)
	now := time.Now()
	start := now.Add(-time.Hour)
	deliver(t, s, batch(idle(1, now), borrowed(10, start, now.Add(-2*time.Minute))))
	e.take()
	s.mu.Lock()
	for k, v := range s.sent { // a day passes in which nothing arrived
		v.Seen = v.Seen.Add(-forget - time.Minute)
		s.sent[k] = v
	}
	s.mu.Unlock()
	e.refuseWith(500, "InternalServiceFault")
	if _, err := s.Export(t.Context(), batch(borrowed(13, start, now.Add(-time.Minute)))); err == nil {
		t.Fatal("a request was refused, and Export says nothing")
	}
	deliver(t, s, batch(borrowed(14, start, now)))
	if got := e.values(); got["BorrowCount"] != 4 {
		t.Errorf("sent %v: a series that was tried all the time was forgotten", got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) != 1 {
		t.Errorf("%d series are remembered, want the one that there is", len(s.sent))
	}
}

func TestEveryFaultOfAConfigIsReported(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	for field, change := range map[string]func(*Config){
		"Namespace":   func(c *Config) { c.Namespace = "AWS/Lambda" },
		"Namespace ":  func(c *Config) { c.Namespace = "a b" },
		"Dimensions":  func(c *Config) { c.Dimensions = map[string]string{"Pool": "x"} },
		"Dimensions ": func(c *Config) { c.Dimensions = map[string]string{"a": "ä"} },
		"Region":      func(c *Config) { c.Region = "" },
		"Endpoint":    func(c *Config) { c.Endpoint = "monitoring.example" },
		"Endpoint ":   func(c *Config) { c.Endpoint = "https://user:pw@monitoring.example" },
	} {
		cfg := e.config()
		change(&cfg)
		if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "Config."+strings.TrimSpace(field)+" ") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	_, err := New(t.Context(), Config{Namespace: ":", Dimensions: map[string]string{"": ""}})
	if err == nil || !strings.Contains(err.Error(), "Namespace") || !strings.Contains(err.Error(), "Dimensions") {
		t.Errorf("%v does not name both", err)
	}
}

func TestAPeriodicSendsThroughTheSink(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	p, err := metrics.NewPeriodic(metrics.Config{
		Collect: func(now time.Time) metrics.Batch { return batch(idle(4, now)) }, Sink: newSink(t, e, nil), Interval: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.values(); got["IdleSessions"] != 4 {
		t.Errorf("sent %v", got)
	}
}

func TestTheTableOfTheDocsHasEveryName(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../../docs/observing.md")
	if err != nil {
		t.Fatal(err)
	}
	measures := make(map[string]bool)
	for _, m := range mcpool.Measures() {
		measures[m.Name] = true
	}
	for _, n := range Names() {
		if line := fmt.Sprintf("\n| `%s` | `%s` | %s |\n", n.Measure, n.Name, n.Unit); !strings.Contains(string(raw), line) {
			t.Errorf("docs/observing.md lacks the line %s", line)
		}
		if !measures[n.Measure] {
			t.Errorf("no pool has a measure %s", n.Measure)
		}
	}
	if got := strings.Count(string(raw), "\n| `"); got != len(Names()) {
		t.Errorf("docs/observing.md has %d lines, want %d", got, len(Names()))
	}
}
