package sdk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metricsv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/metrics/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// pours is a sink that is a function.
type pours func(ctx context.Context, b metrics.Batch) (metrics.Result, error)

func (f pours) Export(ctx context.Context, b metrics.Batch) (metrics.Result, error) {
	return f(ctx, b)
}

func (pours) Close(context.Context) error { return nil }

func TestASinkIsClosedWhenNoExportRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over, closed := false, false
		set := with(t, wire.KindMetrics, pours(func(context.Context, metrics.Batch) (metrics.Result, error) {
			time.Sleep(time.Second)
			over = true
			return metrics.Result{}, nil
		}), func() {
			if closed = true; !over {
				t.Error("the sink is closed under an export")
			}
		})
		go func() {
			if m, err := (&metricsServer{set: set}).Export(t.Context(), &metricsv1.ExportRequest{Instance: "i"}); err != nil || m.GetFailure() != nil {
				t.Errorf("%v, %v", m, err)
			}
		}()
		synctest.Wait()
		if err := set.close(t.Context(), "i"); err != nil || !closed {
			t.Errorf("%v, closed: %v", err, closed)
		}
	})
}

func TestWhatAnExportCameToCrosses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	export := func(f pours) (metrics.Result, error) {
		set := with(t, wire.KindMetrics, f, func() {})
		m, err := (&metricsServer{set: set}).Export(ctx, &metricsv1.ExportRequest{Instance: "i"})
		if err != nil {
			t.Fatal(err)
		}
		return wire.ExportFrom(m, 5, func(*wire.Error) {})
	}
	if r, err := export(func(context.Context, metrics.Batch) (metrics.Result, error) {
		return metrics.Result{Rejected: 2, Reason: "why"}, nil
	}); err != nil || r != (metrics.Result{Rejected: 2, Reason: "why"}) {
		t.Errorf("a part: %v, %v", r, err)
	}
	if r, err := export(func(context.Context, metrics.Batch) (metrics.Result, error) {
		return metrics.Result{Rejected: 2}, metrics.Permanent(errors.New("never"))
	}); !errors.Is(err, metrics.ErrPermanent) || r != (metrics.Result{}) {
		t.Errorf("nothing: %v, %v", r, err)
	}
	if _, err := export(func(context.Context, metrics.Batch) (metrics.Result, error) { panic("hush4711") }); !errors.Is(err, wire.ErrPanic) ||
		strings.Contains(err.Error(), "hush4711") {
		t.Errorf("a panic: %v", err)
	}
	if _, err := export(func(ctx context.Context, _ metrics.Batch) (metrics.Result, error) {
		cancel()
		return metrics.Result{}, ctx.Err()
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("the host does not wait any more: %v", err)
	}
}
