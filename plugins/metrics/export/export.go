// Package export makes batches for a metrics.Sink of the statistics of pools:
//
//	pools := export.New(export.Config{})
//	pools.AddMCP("tools", pool)
//	p, err := metrics.NewPeriodic(metrics.Config{Collect: pools.Collect, Sink: sink})
//
// Its names are those of core.Measures and mcpool.Measures, after a prefix.
package export

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// Scope is the name of the scope of all metrics here.
const Scope = "github.com/go-mcpool/mcpool/plugins/metrics/export"

// Config configures Pools.
type Config struct {
	// Prefix begins every name. Default: "mcpool.".
	Prefix string
	// Resource is what the batches are about.
	Resource []metrics.Attribute
}

// ErrName reports a pool's name that was added before.
var ErrName = errors.New("export: a pool of this name was added before: give each its own, or Remove the old one")

// Pools are pools whose statistics are collected. Its methods may be called from any
// goroutine at any time.
type Pools struct {
	cfg Config

	mu    sync.Mutex
	pools map[string]func(now time.Time, add func(metrics.Metric)) // guarded by mu
}

// New returns Pools without any.
func New(cfg Config) *Pools {
	if cfg.Prefix == "" {
		cfg.Prefix = "mcpool."
	}
	cfg.Resource = slices.Clone(cfg.Resource)
	return &Pools{cfg: cfg, pools: make(map[string]func(time.Time, func(metrics.Metric)))}
}

// Add collects from a pool: a core.Pool, a core.Keyed, or whatever has statistics.
func (p *Pools) Add(name string, pool interface{ Stats() core.Stats }) error {
	return add(p, name, core.Measures(), pool.Stats, func(s *core.Stats) (time.Duration, *core.ByReason) { return s.Uptime, &s.ClosedBy })
}

// AddMCP collects from a pool of MCP sessions.
func (p *Pools) AddMCP(name string, pool interface{ Stats() mcpool.Stats }) error {
	return add(p, name, mcpool.Measures(), pool.Stats, func(s *mcpool.Stats) (time.Duration, *core.ByReason) { return s.Uptime, &s.Sessions.ClosedBy })
}

// Remove forgets a pool.
func (p *Pools) Remove(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pools, name)
}

func add[S any](p *Pools, name string, measures []core.Measure[S], stats func() S, about func(*S) (time.Duration, *core.ByReason)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pools[name] != nil {
		return fmt.Errorf("%w (%q)", ErrName, name)
	}
	pool := metrics.Attribute{Key: "pool", Value: name}
	p.pools[name] = func(now time.Time, emit func(metrics.Metric)) {
		s := stats()
		uptime, closed := about(&s)
		start := now.Add(-uptime)
		for _, m := range measures {
			number := metrics.Number{Attributes: []metrics.Attribute{pool}, Time: now, Value: m.Of(&s)}
			metric := metrics.Metric{Name: m.Name, Help: m.Help, Unit: "1"}
			if len(m.Name) > 8 && m.Name[len(m.Name)-8:] == "_seconds" {
				metric.Unit = "s"
			}
			if m.Kind == core.Limit && number.Value < 0 {
				continue // no limit has no number
			}
			if m.Kind == core.Counter {
				metric.Type, metric.Monotonic, number.Start = metrics.Sum, true, start
			}
			metric.Numbers = []metrics.Number{number}
			emit(metric)
		}
		by := metrics.Metric{Name: "closed", Help: "Resources closed, by reason.", Unit: "1", Type: metrics.Sum, Monotonic: true}
		for _, r := range core.CloseReasons() {
			by.Numbers = append(by.Numbers, metrics.Number{
				Attributes: []metrics.Attribute{pool, {Key: "reason", Value: r.String()}}, Start: start, Time: now, Value: float64(closed[r]),
			})
		}
		emit(by)
	}
	return nil
}

// Collect returns the numbers of now, for metrics.Config. Pools come by name, and
// those of a metric together.
func (p *Pools) Collect(now time.Time) metrics.Batch {
	p.mu.Lock()
	pools := maps.Clone(p.pools)
	p.mu.Unlock()
	scope := metrics.Scope{Name: Scope}
	index := make(map[string]int)
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		pools[name](now, func(m metrics.Metric) {
			i, there := index[m.Name]
			if !there {
				i = len(scope.Metrics)
				index[m.Name] = i
				own := m
				own.Name, own.Numbers = p.cfg.Prefix+m.Name, nil
				scope.Metrics = append(scope.Metrics, own)
			}
			scope.Metrics[i].Numbers = append(scope.Metrics[i].Numbers, m.Numbers...)
		})
	}
	return metrics.Batch{Resource: metrics.Resource{Attributes: p.cfg.Resource}, Scopes: []metrics.Scope{scope}}
}
