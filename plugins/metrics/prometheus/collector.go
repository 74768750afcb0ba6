package poolprom

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// Config configures a Collector.
type Config struct {
	// Prefix begins every name. Default: "mcpool_".
	Prefix string
	// ConstLabels are added to every series.
	ConstLabels prometheus.Labels
	// Buckets are the upper bounds, in seconds, of the classic buckets that the
	// histograms have beside the native ones. A slice that is empty and not nil leaves
	// them out, which halves what an observation costs. Default: 1 ms to 60 s in eleven steps.
	Buckets []float64
	// MaxTools is how many names of tools each pool may have as labels; what comes
	// later is "_other". -1 shows no names. Default: 100.
	MaxTools int
}

// ErrName reports a pool's name that was added before.
var ErrName = errors.New("poolprom: a pool of this name was added before: give each its own, or Remove the old one")

// Collector collects the metrics of pools. It satisfies prometheus.Collector.
type Collector struct {
	// Immutable after creation.
	cfg    Config
	labels []*dto.LabelPair // the constant ones
	table  []described
	index  map[string]int // of table, by the name of the measure
	closed *prometheus.Desc
	wait   *prometheus.HistogramVec
	hold   *prometheus.HistogramVec
	open   *prometheus.HistogramVec
	call   *prometheus.HistogramVec

	mu    sync.RWMutex
	pools map[string]source // guarded by mu
}

var _ prometheus.Collector = (*Collector)(nil)

// described is a measure with what Prometheus wants to know of it.
type described struct {
	desc *prometheus.Desc
	kind core.MeasureKind
}

// source reads the numbers of one pool.
type source interface {
	collect(ch chan<- prometheus.Metric)
}

// New returns a collector without pools. It reports every fault of cfg at once.
func New(cfg Config) (*Collector, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "mcpool_"
	}
	if cfg.Buckets == nil {
		cfg.Buckets = []float64{.001, .0025, .005, .01, .05, .1, .5, 1, 5, 15, 60}
	}
	if cfg.MaxTools == 0 {
		cfg.MaxTools = 100
	}
	cfg.ConstLabels, cfg.Buckets = maps.Clone(cfg.ConstLabels), slices.Clone(cfg.Buckets)
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Collector{cfg: cfg, index: make(map[string]int), pools: make(map[string]source)}
	for _, name := range slices.Sorted(maps.Keys(cfg.ConstLabels)) {
		value := cfg.ConstLabels[name]
		c.labels = append(c.labels, &dto.LabelPair{Name: &name, Value: &value})
	}
	for _, m := range mcpool.Measures() {
		c.index[m.Name] = len(c.table)
		c.table = append(c.table, described{c.desc(Name(m.Name, m.Kind), m.Help), m.Kind})
	}
	c.closed = c.desc("closed_total", "Resources closed, by reason.", "reason")
	return c.withHistograms(), nil
}

// Name is a measure's name in Prometheus, without the prefix.
func Name(measure string, kind core.MeasureKind) string {
	if kind == core.Counter {
		return measure + "_total"
	}
	return measure
}

func (c *Config) check() error {
	var errs []error
	fault := func(field, problem string) {
		errs = append(errs, fmt.Errorf("poolprom: Config.%s %s", field, problem))
	}
	if !model.LegacyValidation.IsValidMetricName(c.Prefix + "x") {
		fault("Prefix", fmt.Sprintf("is %q: use letters, digits and underscores", c.Prefix))
	}
	for name := range c.ConstLabels {
		switch name {
		case labelPool, labelReason, labelMethod, labelTool, labelError:
			fault("ConstLabels", fmt.Sprintf("has %q, which this package sets itself", name))
		default:
			if !model.LegacyValidation.IsValidLabelName(name) {
				fault("ConstLabels", fmt.Sprintf("has %q: use letters, digits and underscores", name))
			}
		}
	}
	for i, b := range c.Buckets {
		if math.IsNaN(b) || math.IsInf(b, 0) || b <= 0 || i > 0 && b <= c.Buckets[i-1] {
			fault("Buckets", "have to be above zero, finite and in ascending order")
			break
		}
	}
	if c.MaxTools < -1 {
		fault("MaxTools", fmt.Sprintf("is %d: give at least 1, 0 for the default or -1 for none", c.MaxTools))
	}
	return errors.Join(errs...)
}

// The labels.
const (
	labelPool   = "pool"
	labelReason = "reason"
	labelMethod = "method"
	labelTool   = "tool"
	labelError  = "outcome"
)

// Describe sends the descriptions of all metrics there may be.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for i := range c.table {
		ch <- c.table[i].desc
	}
	ch <- c.closed
	for _, h := range c.histograms() {
		h.Describe(ch)
	}
}

// Collect sends the numbers of now.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.RLock()
	sources := slices.Collect(maps.Values(c.pools))
	c.mu.RUnlock()
	for _, s := range sources {
		s.collect(ch)
	}
	for _, h := range c.histograms() {
		h.Collect(ch)
	}
}

// Add shows a pool: a core.Pool, a core.Keyed, or whatever else has statistics.
func (c *Collector) Add(name string, p interface{ Stats() core.Stats }) error {
	return add(c, name, core.Measures(), p.Stats, func(s *core.Stats) *core.ByReason { return &s.ClosedBy })
}

// AddMCP shows a pool of MCP sessions.
func (c *Collector) AddMCP(name string, p interface{ Stats() mcpool.Stats }) error {
	return add(c, name, mcpool.Measures(), p.Stats, func(s *mcpool.Stats) *core.ByReason { return &s.Sessions.ClosedBy })
}

// Remove forgets a pool and its times.
func (c *Collector) Remove(name string) {
	c.mu.Lock()
	delete(c.pools, name)
	c.mu.Unlock()
	for _, h := range c.histograms() {
		h.DeletePartialMatch(prometheus.Labels{labelPool: name})
	}
}

func (c *Collector) desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(c.cfg.Prefix+name, help, append([]string{labelPool}, labels...), c.cfg.ConstLabels)
}

func add[S any](c *Collector, name string, measures []core.Measure[S], stats func() S, closed func(*S) *core.ByReason) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.pools[name]; there {
		return fmt.Errorf("%w (%q)", ErrName, name)
	}
	p := &pool[S]{stats: stats, closed: closed, closedDesc: c.closed}
	key, value := labelPool, name
	labels := sorted(c.labels, &dto.LabelPair{Name: &key, Value: &value})
	for _, m := range measures {
		d := c.table[c.index[m.Name]]
		p.lines = append(p.lines, line[S]{sample{desc: d.desc, labels: labels, counter: d.kind == core.Counter}, m.Kind, m.Of})
	}
	for _, r := range core.CloseReasons() {
		key, value := labelReason, r.String()
		p.reasons = append(p.reasons, r)
		p.reasonLabels = append(p.reasonLabels, sorted(labels, &dto.LabelPair{Name: &key, Value: &value}))
	}
	c.pools[name] = p
	return nil
}

// sorted is labels with one more, in the order that Prometheus wants.
func sorted(labels []*dto.LabelPair, more *dto.LabelPair) []*dto.LabelPair {
	all := append(slices.Clone(labels), more)
	slices.SortFunc(all, func(a, b *dto.LabelPair) int {
		if a.GetName() < b.GetName() {
			return -1
		}
		return 1
	})
	return all
}

// pool is the source of one pool. Everything but the numbers is made beforehand.
type pool[S any] struct {
	stats        func() S
	lines        []line[S]
	closed       func(*S) *core.ByReason
	closedDesc   *prometheus.Desc
	reasons      []core.CloseReason
	reasonLabels [][]*dto.LabelPair
}

type line[S any] struct {
	sample

	kind core.MeasureKind
	of   func(*S) float64
}

// collect reads Stats once, so that the numbers of a pool agree with each other.
func (p *pool[S]) collect(ch chan<- prometheus.Metric) {
	s := p.stats()
	samples := make([]sample, len(p.lines)+len(p.reasons)) // one allocation for all
	for i := range p.lines {
		l := &p.lines[i]
		samples[i] = l.sample
		if samples[i].value = l.of(&s); l.kind == core.Limit && samples[i].value < 0 {
			samples[i].value = math.Inf(1)
		}
		ch <- &samples[i]
	}
	closed := p.closed(&s)
	for i, r := range p.reasons {
		m := &samples[len(p.lines)+i]
		*m = sample{desc: p.closedDesc, labels: p.reasonLabels[i], counter: true, value: float64(closed[r])}
		ch <- m
	}
}

// sample is one number. The constant metrics of the client library would make and
// sort their labels anew at each scrape.
type sample struct {
	desc    *prometheus.Desc
	labels  []*dto.LabelPair
	counter bool
	value   float64
}

func (s *sample) Desc() *prometheus.Desc { return s.desc }

func (s *sample) Write(m *dto.Metric) error {
	m.Label = s.labels
	if s.counter {
		m.Counter = &dto.Counter{Value: &s.value}
	} else {
		m.Gauge = &dto.Gauge{Value: &s.value}
	}
	return nil
}
