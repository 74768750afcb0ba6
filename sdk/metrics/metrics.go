package metrics

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Sink takes metrics to where they go.
type Sink interface {
	// Export sends a batch. It may block until ctx ends, and returns soon after.
	Export(ctx context.Context, b Batch) (Result, error)
	// Close ends what the sink started. It is called once, when no Export runs.
	Close(ctx context.Context) error
}

// Result says what became of a batch that arrived.
type Result struct {
	// Rejected is how many points were not taken.
	Rejected int
	// Reason says why, for a log.
	Reason string
}

// Batch is what was measured at one time.
type Batch struct {
	Resource Resource
	Scopes   []Scope
}

// Points is how many points a batch has.
func (b Batch) Points() int {
	n := 0
	for _, s := range b.Scopes {
		for _, m := range s.Metrics {
			n += len(m.Numbers) + len(m.Histograms)
		}
	}
	return n
}

// Resource is what the numbers are about: a service, a host.
type Resource struct{ Attributes []Attribute }

// Scope is the code that measured.
type Scope struct {
	Name, Version string
	Metrics       []Metric
}

// Type is the type of a metric.
type Type uint8

// The types of metrics.
const (
	Gauge     Type = iota // the value of now
	Sum                   // a total since Start
	Histogram             // a distribution since Start
)

// String returns "gauge", "sum" or "histogram".
func (t Type) String() string {
	switch t {
	case Gauge:
		return "gauge"
	case Sum:
		return "sum"
	case Histogram:
		return "histogram"
	}
	return "unknown"
}

// Metric is one metric with its points.
type Metric struct {
	Name, Help string
	Unit       string // as UCUM writes it: "s", "1", "{session}"
	Type       Type
	Monotonic  bool // a Sum that never goes down
	// Numbers are the points of a Gauge or a Sum, Histograms those of a Histogram.
	Numbers    []Number
	Histograms []Distribution
}

// Number is a point of a Gauge or a Sum.
type Number struct {
	Attributes []Attribute
	Start      time.Time // of a Sum; zero for a Gauge
	Time       time.Time
	Value      float64
}

// Distribution is a point of a Histogram.
type Distribution struct {
	Attributes []Attribute
	Start      time.Time
	Time       time.Time
	Count      uint64
	Sum        float64
	// Bounds are the upper bounds of the buckets, inclusive and ascending; Buckets has
	// one more, for what is above the last.
	Bounds  []float64
	Buckets []uint64
}

// Attribute is a name and a value. Names are unique within a point.
type Attribute struct{ Key, Value string }

// ErrPermanent is found in the errors that Permanent makes.
var ErrPermanent = errors.New("metrics: trying again will not help")

// Permanent marks an error after which a batch is not sent again.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string   { return e.err.Error() }
func (e *permanentError) Unwrap() []error { return []error{ErrPermanent, e.err} }

// RetryError says when to come back.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string {
	return fmt.Sprintf("metrics: come back in %v: %v", e.After, e.Err)
}

// Unwrap returns what happened.
func (e *RetryError) Unwrap() error { return e.Err }
