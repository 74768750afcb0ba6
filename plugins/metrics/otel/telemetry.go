package poolotel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// ErrName reports a pool's name that was added before.
var ErrName = errors.New("poolotel: a pool of this name was added before: give each its own, or Remove the old one")

// Telemetry reports any number of pools.
type Telemetry struct {
	// Immutable after creation.
	cfg      Config
	tracer   trace.Tracer
	inst     instruments
	callback metric.Registration // nil without metrics

	mu    sync.Mutex
	pools map[string]*observed // guarded by mu
}

// observed is a pool whose Stats are read when metrics are collected.
type observed struct {
	stats              func() (resources core.Stats, errors uint64)
	name, idle, leased []metric.ObserveOption
}

// New returns a Telemetry without pools. It reports every fault of cfg at once.
func New(cfg Config) (*Telemetry, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	t := &Telemetry{cfg: cfg, pools: make(map[string]*observed)}
	if !cfg.NoSpans {
		t.tracer = cfg.tracer()
	}
	if cfg.NoMetrics {
		return t, nil
	}
	if err := t.inst.create(cfg.meter(), cfg.SeedNames); err != nil {
		return nil, fmt.Errorf("poolotel: %w", err)
	}
	var err error
	t.callback, err = cfg.meter().RegisterCallback(t.observe, t.inst.observables()...)
	if err != nil {
		return nil, fmt.Errorf("poolotel: %w", err)
	}
	return t, nil
}

// Close ends the reading of Stats. Hooks that are in use go on.
func (t *Telemetry) Close(context.Context) error {
	if t.callback == nil {
		return nil
	}
	if err := t.callback.Unregister(); err != nil {
		return fmt.Errorf("poolotel: %w", err)
	}
	return nil
}

// Add reads the numbers of a pool: a core.Pool, a core.Keyed, or whatever else
// has statistics.
func (t *Telemetry) Add(name string, p interface{ Stats() core.Stats }) error {
	return t.add(name, func() (core.Stats, uint64) {
		s := p.Stats()
		return s, s.OpenFailures + s.CloseErrors + s.Panics
	})
}

// AddMCP reads the numbers of a pool of MCP sessions.
func (t *Telemetry) AddMCP(name string, p interface{ Stats() mcpool.Stats }) error {
	return t.add(name, func() (core.Stats, uint64) {
		s := p.Stats()
		r := s.Sessions
		return r, r.OpenFailures + r.CloseErrors + r.Panics + s.CallErrors
	})
}

// Remove forgets the numbers of a pool.
func (t *Telemetry) Remove(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pools, name)
}

func (t *Telemetry) add(name string, stats func() (core.Stats, uint64)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pools[name] != nil {
		return fmt.Errorf("%w (%q)", ErrName, name)
	}
	with := func(more ...attribute.KeyValue) []metric.ObserveOption {
		return []metric.ObserveOption{metric.WithAttributeSet(attribute.NewSet(append(more, attrPool.String(name))...))}
	}
	t.pools[name] = &observed{stats, with(), with(attrState.String("idle")), with(attrState.String("used"))}
	return nil
}

// observe is called by the SDK when it collects.
func (t *Telemetry) observe(_ context.Context, o metric.Observer) error {
	t.mu.Lock()
	pools := make([]*observed, 0, len(t.pools))
	for _, p := range t.pools {
		pools = append(pools, p)
	}
	t.mu.Unlock()
	for _, p := range pools {
		s, failures := p.stats()
		o.ObserveInt64(t.inst.count, int64(s.Idle), p.idle...)
		o.ObserveInt64(t.inst.count, int64(s.Live-s.Idle), p.leased...)
		o.ObserveInt64(t.inst.pending, int64(s.Waiting), p.name...)
		if t.cfg.SeedNames {
			o.ObserveInt64(t.inst.seedActive, int64(s.Live-s.Idle), p.name...)
			o.ObserveInt64(t.inst.seedIdle, int64(s.Idle), p.name...)
			o.ObserveInt64(t.inst.seedErrors, int64(failures), p.name...) //nolint:gosec // a count of failures
		}
	}
	return nil
}

func (t *Telemetry) allows(attr string) bool { return slices.Contains(t.cfg.Allow, attr) }
