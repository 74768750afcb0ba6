package export

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

type fixed[S any] struct{ s S }

func (f fixed[S]) Stats() S { return f.s }

// sink keeps what it gets.
type sink struct{ batches []metrics.Batch }

func (s *sink) Export(_ context.Context, b metrics.Batch) (metrics.Result, error) {
	s.batches = append(s.batches, b)
	return metrics.Result{}, nil
}

func (*sink) Close(context.Context) error { return nil }

func TestStatisticsOfPoolsReachASink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pools := New(Config{Resource: []metrics.Attribute{{Key: "service.name", Value: "x"}}})
		s := mcpool.Stats{Calls: 3, Uptime: time.Hour}
		s.Sessions.Acquired, s.Sessions.Max = 7, -1
		s.Sessions.ClosedBy[core.ReasonIdle] = 2
		if err := errors.Join(pools.AddMCP("tools", fixed[mcpool.Stats]{s}), pools.Add("db", fixed[core.Stats]{core.Stats{Acquired: 5, Max: 9}})); err != nil {
			t.Fatal(err)
		}
		if err := pools.Add("db", fixed[core.Stats]{}); !errors.Is(err, ErrName) {
			t.Errorf("the same name again: %v", err)
		}
		to := &sink{}
		p, err := metrics.NewPeriodic(metrics.Config{Collect: pools.Collect, Sink: to})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(to.batches) != 1 || len(to.batches[0].Scopes) != 1 || to.batches[0].Resource.Attributes[0].Value != "x" {
			t.Fatalf("%+v", to.batches)
		}
		all := make(map[string]metrics.Metric)
		for _, m := range to.batches[0].Scopes[0].Metrics {
			if _, twice := all[m.Name]; twice {
				t.Errorf("%s is there twice", m.Name)
			}
			all[m.Name] = m
		}
		borrow := all["mcpool.borrow"]
		if borrow.Type != metrics.Sum || !borrow.Monotonic || len(borrow.Numbers) != 2 || borrow.Numbers[0].Value != 5 || borrow.Numbers[1].Value != 7 {
			t.Errorf("borrow: %+v", borrow)
		} else if n := borrow.Numbers[1]; !n.Time.Equal(now) || !n.Start.Equal(now.Add(-time.Hour)) || n.Attributes[0].Value != "tools" {
			t.Errorf("borrow of tools: %+v", n)
		}
		if m := all["mcpool.max_sessions"]; len(m.Numbers) != 1 || m.Numbers[0].Value != 9 || m.Type != metrics.Gauge {
			t.Errorf("limits: %+v", m)
		}
		if all["mcpool.uptime_seconds"].Unit != "s" || all["mcpool.calls"].Numbers[0].Value != 3 {
			t.Errorf("uptime %+v, calls %+v", all["mcpool.uptime_seconds"], all["mcpool.calls"])
		}
		closed := 0.0
		for _, n := range all["mcpool.closed"].Numbers {
			closed += n.Value
		}
		if closed != 2 || to.batches[0].Points() < len(mcpool.Measures())+len(core.Measures()) {
			t.Errorf("closed %v, %d points", closed, to.batches[0].Points())
		}
		pools.Remove("db")
		if b := pools.Collect(now); b.Points() != len(mcpool.Measures())-1+len(core.CloseReasons()) {
			t.Errorf("%d points after Remove", b.Points())
		}
	})
}
