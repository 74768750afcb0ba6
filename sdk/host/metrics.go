package host

import (
	"context"

	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/metrics/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

var _ metrics.Sink = (*metricsSink)(nil)

// Metrics opens an instance of the kind metrics. Its Close ends the instance. An export
// is repeated once if the plugin is lost meanwhile: its points are totals, so that
// those which arrive twice say nothing new.
func (r *Running) Metrics(ctx context.Context, in Instance) (metrics.Sink, error) {
	i, err := r.openAs(ctx, in, wire.KindMetrics, func(field, problem string) error {
		return &metrics.ConfigError{Field: field, Problem: problem}
	})
	if err != nil {
		return nil, err
	}
	return &metricsSink{running: r, instance: i}, nil
}

// metricsSink is an instance, wherever it runs at the moment.
type metricsSink struct {
	running  *Running
	instance *instance
}

// Export has the plugin send a batch.
func (s *metricsSink) Export(ctx context.Context, b metrics.Batch) (metrics.Result, error) {
	ctx, cancel := withDefaultDeadline(ctx, s.running.limits().Call)
	defer cancel()
	m := wire.BatchTo(s.instance.name, b)
	name := func(e *Error) { e.Plugin, e.Instance, e.Method = s.running.name, s.instance.name, "Export" }
	if n, limit := proto.Size(m), s.running.limits().MessageBytes; n > limit {
		e := &Error{Message: "the batch is larger than Limits.MessageBytes"}
		name(e)
		return metrics.Result{}, metrics.Permanent(e)
	}
	var answer *metricsv1.ExportResponse
	err := s.running.call(ctx, "Export", s.instance.name, func(ctx context.Context, p *process) (err error) {
		answer, err = metricsv1.NewMetricsServiceClient(p.conn).Export(ctx, m)
		return err
	})
	if err != nil {
		return metrics.Result{}, err
	}
	return wire.ExportFrom(answer, b.Points(), name)
}

// Close ends the instance.
func (s *metricsSink) Close(ctx context.Context) error {
	return s.running.closeInstance(ctx, s.instance)
}
