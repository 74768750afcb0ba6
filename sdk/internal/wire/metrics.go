package wire

import (
	"errors"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	metricsv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/metrics/v1"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// text is a string that can cross: the wire's have to be UTF-8, and one that is not
// must not keep back all that comes with it.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// BatchTo makes the message. Text that is no UTF-8 is mended.
func BatchTo(instance string, b metrics.Batch) *metricsv1.ExportRequest {
	m := &metricsv1.ExportRequest{Instance: instance, Resource: attributesTo(b.Resource.Attributes)}
	for _, s := range b.Scopes {
		scope := &metricsv1.Scope{Name: text(s.Name), Version: text(s.Version)}
		for _, metric := range s.Metrics {
			scope.Metrics = append(scope.Metrics, metricTo(metric))
		}
		m.Scopes = append(m.Scopes, scope)
	}
	return m
}

func metricTo(m metrics.Metric) *metricsv1.Metric {
	out := &metricsv1.Metric{Name: text(m.Name), Help: text(m.Help), Unit: text(m.Unit)}
	switch m.Type {
	case metrics.Gauge:
		out.Data = &metricsv1.Metric_Gauge{Gauge: &metricsv1.Gauge{Points: numbersTo(m.Numbers)}}
	case metrics.Sum:
		out.Data = &metricsv1.Metric_Sum{Sum: &metricsv1.Sum{Points: numbersTo(m.Numbers), Monotonic: m.Monotonic}}
	case metrics.Histogram:
		h := &metricsv1.Histogram{}
		for _, d := range m.Histograms {
			h.Points = append(h.Points, &metricsv1.Distribution{
				Attributes: attributesTo(d.Attributes), Start: timeTo(d.Start), Time: timeTo(d.Time),
				Count: d.Count, Sum: d.Sum, Bounds: d.Bounds, Buckets: d.Buckets,
			})
		}
		out.Data = &metricsv1.Metric_Histogram{Histogram: h}
	}
	return out
}

func numbersTo(ns []metrics.Number) []*metricsv1.Number {
	out := make([]*metricsv1.Number, len(ns))
	for i, n := range ns {
		out[i] = &metricsv1.Number{
			Attributes: attributesTo(n.Attributes), Start: timeTo(n.Start), Time: timeTo(n.Time), Value: n.Value,
		}
	}
	return out
}

func attributesTo(as []metrics.Attribute) []*metricsv1.Attribute {
	out := make([]*metricsv1.Attribute, len(as))
	for i, a := range as {
		out[i] = &metricsv1.Attribute{Key: text(a.Key), Value: text(a.Value)}
	}
	return out
}

// BatchFrom is the way back. A metric of a type that is not known is left out.
func BatchFrom(m *metricsv1.ExportRequest) metrics.Batch {
	b := metrics.Batch{Resource: metrics.Resource{Attributes: attributesFrom(m.GetResource())}}
	for _, s := range m.GetScopes() {
		scope := metrics.Scope{Name: s.GetName(), Version: s.GetVersion()}
		for _, metric := range s.GetMetrics() {
			if one, ok := metricFrom(metric); ok {
				scope.Metrics = append(scope.Metrics, one)
			}
		}
		b.Scopes = append(b.Scopes, scope)
	}
	return b
}

func metricFrom(m *metricsv1.Metric) (metrics.Metric, bool) {
	out := metrics.Metric{Name: m.GetName(), Help: m.GetHelp(), Unit: m.GetUnit()}
	switch data := m.GetData().(type) {
	case *metricsv1.Metric_Gauge:
		out.Type, out.Numbers = metrics.Gauge, numbersFrom(data.Gauge.GetPoints())
	case *metricsv1.Metric_Sum:
		out.Type, out.Monotonic, out.Numbers = metrics.Sum, data.Sum.GetMonotonic(), numbersFrom(data.Sum.GetPoints())
	case *metricsv1.Metric_Histogram:
		out.Type = metrics.Histogram
		for _, d := range data.Histogram.GetPoints() {
			out.Histograms = append(out.Histograms, metrics.Distribution{
				Attributes: attributesFrom(d.GetAttributes()), Start: TimeFrom(d.GetStart()), Time: TimeFrom(d.GetTime()),
				Count: d.GetCount(), Sum: d.GetSum(), Bounds: d.GetBounds(), Buckets: d.GetBuckets(),
			})
		}
	default:
		return out, false
	}
	return out, true
}

func numbersFrom(ms []*metricsv1.Number) []metrics.Number {
	var out []metrics.Number
	for _, m := range ms {
		out = append(out, metrics.Number{
			Attributes: attributesFrom(m.GetAttributes()), Start: TimeFrom(m.GetStart()), Time: TimeFrom(m.GetTime()),
			Value: m.GetValue(),
		})
	}
	return out
}

func attributesFrom(ms []*metricsv1.Attribute) []metrics.Attribute {
	var out []metrics.Attribute
	for _, m := range ms {
		out = append(out, metrics.Attribute{Key: m.GetKey(), Value: m.GetValue()})
	}
	return out
}

// ExportTo makes the answer.
func ExportTo(r metrics.Result, err error) *metricsv1.ExportResponse {
	if err == nil {
		return &metricsv1.ExportResponse{Rejected: int64(max(r.Rejected, 0)), Reason: oneLine(r.Reason)}
	}
	f := &metricsv1.ExportFailure{Failure: Failure(err), Permanent: errors.Is(err, metrics.ErrPermanent)}
	if e, ok := errors.AsType[*metrics.RetryError](err); ok && e.After > 0 {
		f.RetryAfter = durationpb.New(e.After)
	}
	return &metricsv1.ExportResponse{Failure: f}
}

// ExportFrom is the way back. points is how many the batch had; name says in the
// Error whose it is.
func ExportFrom(m *metricsv1.ExportResponse, points int, name func(*Error)) (metrics.Result, error) {
	f := m.GetFailure()
	if f == nil {
		rejected := min(max(m.GetRejected(), 0), int64(points))
		return metrics.Result{Rejected: int(rejected), Reason: oneLine(m.GetReason())}, nil
	}
	e := FromFailure(f.GetFailure())
	name(e)
	switch after := f.GetRetryAfter().AsDuration(); {
	case f.GetPermanent():
		return metrics.Result{}, metrics.Permanent(e)
	case after > 0:
		return metrics.Result{}, &metrics.RetryError{After: after, Err: e}
	}
	return metrics.Result{}, e
}
