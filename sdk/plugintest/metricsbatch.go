package plugintest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-mcpool/mcpool/sdk/metrics"
)

var exports atomic.Int64 //nolint:gochecknoglobals // tells the metrics of a process apart

// fresh names a metric that there was not before.
func (s *metricsSuite[C]) fresh() string {
	return fmt.Sprintf("%sm%dx%d", s.opts.Prefix, time.Now().UnixNano(), exports.Add(1))
}

// gauge is a batch with one point.
func gauge(name string) metrics.Batch {
	return batchOf(metrics.Metric{Name: name, Help: "of a test", Unit: "1", Numbers: []metrics.Number{{Time: time.Now(), Value: 1}}})
}

func batchOf(ms ...metrics.Metric) metrics.Batch {
	return metrics.Batch{
		Resource: metrics.Resource{Attributes: []metrics.Attribute{{Key: "service.name", Value: "plugintest"}}},
		Scopes:   []metrics.Scope{{Name: "plugintest", Version: "1", Metrics: ms}},
	}
}

// ordinary is a batch with every type of metric.
func (s *metricsSuite[C]) ordinary(count int) metrics.Batch {
	now, start := time.Now(), time.Now().Add(-time.Hour)
	pool := []metrics.Attribute{{Key: "pool", Value: "a"}, {Key: "tool", Value: "größer"}}
	value := float64(count)
	return batchOf(
		metrics.Metric{Name: s.opts.Prefix + "live", Help: "Live.", Unit: "{session}", Numbers: []metrics.Number{
			{Attributes: pool, Time: now, Value: value}, {Attributes: pool[:1], Time: now, Value: -value},
		}},
		metrics.Metric{Name: s.opts.Prefix + "calls", Unit: "1", Type: metrics.Sum, Monotonic: true, Numbers: []metrics.Number{
			{Attributes: pool, Start: start, Time: now, Value: 10 + value},
		}},
		metrics.Metric{Name: s.opts.Prefix + "balance", Unit: "1", Type: metrics.Sum, Numbers: []metrics.Number{
			{Start: start, Time: now, Value: -0.5 * value},
		}},
		metrics.Metric{Name: s.opts.Prefix + "wait_seconds", Unit: "s", Type: metrics.Histogram, Histograms: []metrics.Distribution{
			{Attributes: pool, Start: start, Time: now, Count: 6, Sum: 7.5, Bounds: []float64{0.1, 1}, Buckets: []uint64{1, 2, 3}},
		}},
	)
}

// wrong are batches as nobody should make them. A sink may reject any of it.
func (s *metricsSuite[C]) wrong() map[string]metrics.Batch {
	now := time.Now()
	number := func(value float64, at time.Time, attrs ...metrics.Attribute) metrics.Batch {
		return batchOf(metrics.Metric{Name: s.opts.Prefix + "odd", Unit: "1", Numbers: []metrics.Number{{Attributes: attrs, Time: at, Value: value}}})
	}
	histogram := func(d metrics.Distribution) metrics.Batch {
		d.Time = now
		return batchOf(metrics.Metric{Name: s.opts.Prefix + "odd", Unit: "s", Type: metrics.Histogram, Histograms: []metrics.Distribution{d}})
	}
	many := metrics.Metric{Name: s.opts.Prefix + "many", Unit: "1"}
	for i := range 2000 {
		many.Numbers = append(many.Numbers, metrics.Number{
			Attributes: []metrics.Attribute{{Key: "n", Value: fmt.Sprint(i)}}, Time: now, Value: float64(i),
		})
	}
	attr := func(key, value string) metrics.Batch {
		return number(1, now, metrics.Attribute{Key: key, Value: value})
	}
	return map[string]metrics.Batch{
		"nothing":                       {},
		"a scope of nothing":            {Scopes: []metrics.Scope{{}}},
		"a metric of nothing":           batchOf(metrics.Metric{}),
		"a metric without points":       batchOf(metrics.Metric{Name: s.opts.Prefix + "none", Type: metrics.Sum}),
		"a type that there is not":      batchOf(metrics.Metric{Name: s.opts.Prefix + "odd", Type: 77, Numbers: []metrics.Number{{Time: now, Value: 1}}}),
		"not a number":                  number(math.NaN(), now),
		"infinity":                      number(math.Inf(-1), now),
		"the largest number":            number(math.MaxFloat64, now),
		"no time":                       number(1, time.Time{}),
		"a time long ago":               number(1, time.Unix(0, 0)),
		"a time to come":                number(1, now.AddDate(200, 0, 0)),
		"a time beyond calendars":       number(1, time.Date(99999, 1, 1, 0, 0, 0, 0, time.UTC)),
		"a name that is empty":          batchOf(metrics.Metric{Numbers: []metrics.Number{{Time: now, Value: 1}}}),
		"a name of 64 KiB":              gauge(s.opts.Prefix + strings.Repeat("n", 64<<10)),
		"a name with control codes":     gauge(s.opts.Prefix + "a\x00b" + poison),
		"a name that is no UTF-8":       gauge(s.opts.Prefix + "\xff\xfe"),
		"an attribute without a key":    attr("", "v"),
		"an attribute of 64 KiB":        attr("k", strings.Repeat("v", 64<<10)),
		"an attribute with lines":       attr("k"+poison, poison),
		"an attribute that is no UTF-8": attr("k\xff", "\xc3"),
		"an attribute twice":            number(1, now, metrics.Attribute{Key: "k", Value: "1"}, metrics.Attribute{Key: "k", Value: "2"}),
		"200 attributes":                number(1, now, slices.Repeat([]metrics.Attribute{{Key: "k", Value: "v"}}, 200)...),
		"a total that fell": batchOf(metrics.Metric{
			Name: s.opts.Prefix + "calls", Type: metrics.Sum, Monotonic: true,
			Numbers: []metrics.Number{{Start: now, Time: now.Add(-time.Hour), Value: -7}},
		}),
		"a distribution of nothing":   histogram(metrics.Distribution{}),
		"too few buckets":             histogram(metrics.Distribution{Count: 3, Bounds: []float64{1, 2, 3}, Buckets: []uint64{3}}),
		"too many buckets":            histogram(metrics.Distribution{Count: 3, Bounds: []float64{1}, Buckets: []uint64{1, 1, 1, 0, 0}}),
		"bounds that fall":            histogram(metrics.Distribution{Count: 3, Bounds: []float64{2, 1}, Buckets: []uint64{1, 1, 1}}),
		"bounds that are not numbers": histogram(metrics.Distribution{Count: 3, Sum: math.NaN(), Bounds: []float64{math.NaN(), math.Inf(1)}, Buckets: []uint64{1, 1, 1}}),
		"a count that does not agree": histogram(metrics.Distribution{Count: math.MaxUint64, Bounds: []float64{1}, Buckets: []uint64{1, math.MaxUint64}}),
		"2000 points":                 batchOf(many),
	}
}

// cloneBatch returns a batch that shares nothing with b.
func cloneBatch(b metrics.Batch) metrics.Batch {
	b.Resource.Attributes = slices.Clone(b.Resource.Attributes)
	b.Scopes = slices.Clone(b.Scopes)
	for i := range b.Scopes {
		b.Scopes[i].Metrics = slices.Clone(b.Scopes[i].Metrics)
		for j := range b.Scopes[i].Metrics {
			m := &b.Scopes[i].Metrics[j]
			m.Numbers, m.Histograms = slices.Clone(m.Numbers), slices.Clone(m.Histograms)
			for n := range m.Numbers {
				m.Numbers[n].Attributes = slices.Clone(m.Numbers[n].Attributes)
			}
			for n := range m.Histograms {
				h := &m.Histograms[n]
				h.Attributes, h.Bounds, h.Buckets = slices.Clone(h.Attributes), slices.Clone(h.Bounds), slices.Clone(h.Buckets)
			}
		}
	}
	return b
}

// equalNaNs compares numbers as they are.
var equalNaNs = cmp.Comparer(func(a, b float64) bool { //nolint:gochecknoglobals // an option
	return math.Float64bits(a) == math.Float64bits(b)
})
