package poolotel

import (
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.41.0/mcpconv"
)

// The attributes of our own; the rest are from the conventions.
const (
	attrPool     = attribute.Key("mcpool.pool.name")
	attrState    = attribute.Key("state")
	attrReason   = attribute.Key("mcpool.close.reason")
	attrAttempts = attribute.Key("mcpool.call.attempts")
	attrAttempt  = attribute.Key("mcpool.open.attempt")
	attrID       = attribute.Key(AttrResourceID)
	attrIdentity = attribute.Key(AttrIdentity)
)

// otherTool stands for tools that are not in the server's list.
const otherTool = "_other"

// The spans.
const (
	spanBorrow = "pool.borrow"
	spanReturn = "pool.return"
	spanCreate = "session.create"
	spanClose  = "session.close"
	spanTools  = "list_tools"
)

// Metric describes a metric of this package.
type Metric struct{ Name, Instrument, Unit, Help string }

// Span describes a span of this package.
type Span struct{ Name, Kind, Help string }

// Metrics returns all metrics there may be.
func Metrics() []Metric {
	return []Metric{
		{"mcpool.resource.count", "updowncounter", "{resource}", "Resources alive, by state: idle or used."},
		{"mcpool.resource.pending_requests", "updowncounter", "{request}", "Callers waiting for a lease."},
		{"mcpool.resource.timeouts", "counter", "{timeout}", "Callers that gave up waiting for a lease."},
		{"mcpool.resource.create_time", "histogram", "s", "Time that attempts to open a resource took."},
		{"mcpool.resource.wait_time", "histogram", "s", "Time that callers waited for the lease they got."},
		{"mcpool.resource.use_time", "histogram", "s", "Time that leases were held."},
		{mcpconv.ClientOperationDuration{}.Name(), "histogram", "s", "Time that calls took, all attempts together."},
		{mcpconv.ClientSessionDuration{}.Name(), "histogram", "s", "Age that sessions reached."},
		{"pool.active_sessions", "updowncounter", "{session}", "With SeedNames: sessions in use."},
		{"pool.idle_sessions", "updowncounter", "{session}", "With SeedNames: sessions not in use."},
		{"pool.borrow_wait_seconds", "histogram", "s", "With SeedNames: as mcpool.resource.wait_time."},
		{"pool.errors_total", "counter", "{error}", "With SeedNames: calls, opens and closes that failed, and panics."},
	}
}

// Spans returns all spans there may be.
func Spans() []Span {
	return []Span{
		{spanBorrow, "internal", "An Acquire, from its beginning to the lease."},
		{spanReturn, "internal", "The end of a lease, with ReturnSpans."},
		{spanCreate, "client", "One attempt to open a resource."},
		{spanClose, "client", "The closing of a resource."},
		{spanTools, "client", "The fetching of the list of tools."},
		{"tools/call {tool}", "client", "A call of a tool, all attempts together."},
		{"{method}", "client", "Any other call."},
	}
}

// instruments are what metrics are recorded with.
type instruments struct {
	count, pending                   metric.Int64ObservableUpDownCounter
	timeouts                         metric.Int64Counter
	opened, wait, use, call, session metric.Float64Histogram
	seedActive, seedIdle             metric.Int64ObservableUpDownCounter
	seedErrors                       metric.Int64ObservableCounter
	seedWait                         metric.Float64Histogram
}

// Bounds of the histograms: those of the conventions for MCP, and finer ones for
// what a pool does in less time.
var (
	callBounds = []float64{.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 120, 300}
	poolBounds = []float64{.00001, .0001, .001, .005, .01, .05, .1, .5, 1, 5, 10, 60}
)

// create makes the instruments. Those of SeedNames are made only if asked for.
func (i *instruments) create(m metric.Meter, seed bool) error {
	var errs []error
	about := make(map[string]Metric)
	for _, d := range Metrics() {
		about[d.Name] = d
	}
	gauge := func(name string) metric.Int64ObservableUpDownCounter {
		d := about[name]
		g, err := m.Int64ObservableUpDownCounter(d.Name, metric.WithUnit(d.Unit), metric.WithDescription(d.Help))
		errs = append(errs, err)
		return g
	}
	histogram := func(name string, bounds []float64) metric.Float64Histogram {
		d := about[name]
		h, err := m.Float64Histogram(d.Name, metric.WithUnit(d.Unit), metric.WithDescription(d.Help), metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	i.count, i.pending = gauge("mcpool.resource.count"), gauge("mcpool.resource.pending_requests")
	var err error
	d := about["mcpool.resource.timeouts"]
	i.timeouts, err = m.Int64Counter(d.Name, metric.WithUnit(d.Unit), metric.WithDescription(d.Help))
	errs = append(errs, err)
	i.opened = histogram("mcpool.resource.create_time", poolBounds)
	i.wait, i.use = histogram("mcpool.resource.wait_time", poolBounds), histogram("mcpool.resource.use_time", poolBounds)
	i.call = histogram(mcpconv.ClientOperationDuration{}.Name(), callBounds)
	i.session = histogram(mcpconv.ClientSessionDuration{}.Name(), callBounds)
	if seed {
		i.seedActive, i.seedIdle = gauge("pool.active_sessions"), gauge("pool.idle_sessions")
		i.seedWait = histogram("pool.borrow_wait_seconds", poolBounds)
		d := about["pool.errors_total"]
		i.seedErrors, err = m.Int64ObservableCounter(d.Name, metric.WithUnit(d.Unit), metric.WithDescription(d.Help))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// observables are those that are read from Stats.
func (i *instruments) observables() []metric.Observable {
	all := []metric.Observable{i.count, i.pending}
	if i.seedActive != nil {
		all = append(all, i.seedActive, i.seedIdle, i.seedErrors)
	}
	return all
}
