package plugintest

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// Metrics checks that the sinks of a factory keep the contract of package metrics. It
// is in process: the factory is what sdk.Metrics takes. The batches are the kit's, some
// of them as nobody should make them.
func Metrics[C any, S metrics.Sink](t *testing.T, open func(ctx context.Context, cfg C) (S, error), opts MetricsOptions[C]) {
	t.Helper()
	runAll(t, metricsInProcess(open, opts))
}

// metricsInProcess lists the checks of Metrics.
func metricsInProcess[C any, S metrics.Sink](
	open func(ctx context.Context, cfg C) (S, error), opts MetricsOptions[C],
) []check {
	s := newMetricsSuite(opts)
	s.open = factoryOf[metrics.Sink](open)
	return append(s.contract(), s.check("Printing", s.printing), s.check("Goroutines", s.goroutines))
}

// metricsSuite checks sinks, wherever they run.
type metricsSuite[C any] struct {
	suite

	opts MetricsOptions[C]
	open factory[C, metrics.Sink]
}

func newMetricsSuite[C any](opts MetricsOptions[C]) *metricsSuite[C] {
	opts = opts.withDefaults()
	return &metricsSuite[C]{suite: suite{opts.Patience, opts.lull, newSecrets(opts.Secrets)}, opts: opts}
}

// contract lists the checks that hold in process and through a host.
func (s *metricsSuite[C]) contract() []check {
	return []check{
		s.check("Export", s.export),
		s.check("Arrival", s.arrival),
		s.check("Hostile", s.hostile),
		s.check("Periodic", s.periodic),
		s.check("Failures", s.failures),
		s.check("Cancellation", func(r *report) { s.ending(r, context.Canceled) }),
		s.check("Deadline", func(r *report) { s.ending(r, context.DeadlineExceeded) }),
		s.check("Concurrent", s.concurrent),
		s.check("Close", s.closing),
	}
}

// use makes a sink that is closed at the end of the check.
func (s *metricsSuite[C]) use(r *report, cfg C) *sink {
	r.Helper()
	p, err := s.open.make(r, cfg)
	if err != nil {
		r.Fatalf("the factory: %v", err)
	}
	u := s.sink(r, p)
	r.Cleanup(func() {
		if !u.closed {
			ctx, cancel := short()
			defer cancel()
			_ = u.Close(ctx)
		}
	})
	return u
}

// sink looks at each call of a sink.
func (s *metricsSuite[C]) sink(r *report, p metrics.Sink) *sink { return &sink{r: r, p: p} }

// sink is a sink, each call of which is looked at. It is one itself.
type sink struct {
	r      *report
	p      metrics.Sink
	closed bool
}

var _ metrics.Sink = (*sink)(nil)

// Export exports, and checks the answer.
func (u *sink) Export(ctx context.Context, b metrics.Batch) (res metrics.Result, err error) {
	lent := cloneBatch(b)
	res, err = u.p.Export(ctx, lent)
	if !reflect.DeepEqual(b, lent) { // or there is a NaN in it
		if diff := cmp.Diff(b, lent, equalNaNs); diff != "" {
			u.r.faultf("Export changed the batch, which is read-only: %s", diff)
		}
	}
	u.r.inspectError("Export", err)
	u.r.inspect("the reason of Export", res.Reason)
	switch points := b.Points(); {
	case errors.Is(err, context.Canceled) && ctx.Err() == nil:
		u.r.faultf("Export returned context.Canceled, and its context has not ended")
	case err != nil && res.Rejected != 0:
		u.r.faultf("Export rejected %d points and returned an error, which says that nothing arrived: %v", res.Rejected, err)
	case res.Rejected < 0 || res.Rejected > points:
		u.r.faultf("Export rejected %d of %d points", res.Rejected, points)
	case res.Rejected > 0 && res.Reason == "":
		u.r.faultf("Export rejected %d points and gave no reason", res.Rejected)
	case !isLine(res.Reason):
		u.r.faultf("Export gave a reason that is not one line for a log: %.200q", res.Reason)
	}
	return res, err
}

// Close closes the sink, once.
func (u *sink) Close(ctx context.Context) error {
	u.closed = true
	var err error
	if !u.r.within("Close", func() { err = u.p.Close(ctx) }) {
		return nil // reported
	}
	u.r.inspectError("Close", err)
	return err
}

// maxLine is what a reason may have, in bytes.
const maxLine = 4 << 10

// isLine tells whether a text can stand in a log as it is.
func isLine(s string) bool { return len(s) <= maxLine && !strings.ContainsFunc(s, unicode.IsControl) }

// metricsField is the field that a configuration error of this kind names.
func metricsField(err error) (string, bool) {
	e, ok := err.(*metrics.ConfigError) //nolint:errorlint // faulty unwraps
	if !ok {
		return "", false
	}
	return e.Field, true
}
