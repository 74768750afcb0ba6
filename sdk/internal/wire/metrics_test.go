package wire

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/metrics/v1"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// crossed is a batch at the other end of the wire.
func crossed(t *testing.T, b metrics.Batch) metrics.Batch {
	t.Helper()
	return BatchFrom(cross(t, BatchTo("i", b), &metricsv1.ExportRequest{}))
}

func TestEveryFieldOfABatchCrosses(t *testing.T) {
	t.Parallel()
	at, start := time.Unix(1700000000, 5).UTC(), time.Unix(1600000000, 0).UTC()
	attrs := []metrics.Attribute{{Key: "k", Value: "größer"}, {Key: "", Value: ""}}
	b := metrics.Batch{
		Resource: metrics.Resource{Attributes: attrs},
		Scopes: []metrics.Scope{
			{Name: "a", Version: "1", Metrics: []metrics.Metric{
				{Name: "g", Help: "h", Unit: "s", Numbers: []metrics.Number{{Time: at, Value: 0.5}, {Value: math.Inf(-1)}}},
				{Name: "s", Type: metrics.Sum, Monotonic: true, Numbers: []metrics.Number{{Attributes: attrs, Start: start, Time: at, Value: -7}}},
				{Name: "t", Type: metrics.Sum},
				{Name: "d", Type: metrics.Histogram, Histograms: []metrics.Distribution{{
					Attributes: attrs, Start: start, Time: at, Count: math.MaxUint64, Sum: 4, Bounds: []float64{1, 2}, Buckets: []uint64{1, 1, math.MaxUint64},
				}}},
			}},
			{},
		},
	}
	if diff := cmp.Diff(b, crossed(t, b)); diff != "" {
		t.Error(diff)
	}
	if got := BatchTo("i", b).GetInstance(); got != "i" {
		t.Errorf("the instance is %q", got)
	}
}

// One text that cannot cross must not keep back the batch.
func TestABatchWithTextThatIsNoUTF8Crosses(t *testing.T) {
	t.Parallel()
	bad := "a\xff"
	b := metrics.Batch{
		Resource: metrics.Resource{Attributes: []metrics.Attribute{{Key: bad, Value: bad}}},
		Scopes: []metrics.Scope{{Name: bad, Version: bad, Metrics: []metrics.Metric{{
			Name: bad, Help: bad, Unit: bad, Numbers: []metrics.Number{{Attributes: []metrics.Attribute{{Key: bad, Value: bad}}, Value: 7}},
		}}}},
	}
	got := crossed(t, b)
	if m := got.Scopes[0].Metrics[0]; m.Name != "a\uFFFD" || m.Numbers[0].Value != 7 || m.Numbers[0].Attributes[0].Key != "a\uFFFD" {
		t.Errorf("got %+v", got)
	}
}

func TestWhatIsNotKnownOfABatchIsLeftOut(t *testing.T) {
	t.Parallel()
	b := metrics.Batch{Scopes: []metrics.Scope{{Metrics: []metrics.Metric{{Name: "x", Type: 77}, {Name: "y"}}}}}
	if got := crossed(t, b); len(got.Scopes[0].Metrics) != 1 || got.Scopes[0].Metrics[0].Name != "y" {
		t.Errorf("got %+v", got)
	}
	wild := &metricsv1.Number{Time: &timestamppb.Timestamp{Seconds: math.MaxInt64, Nanos: -1}}
	if got := numbersFrom([]*metricsv1.Number{wild, nil}); !got[0].Time.IsZero() || len(got) != 2 {
		t.Errorf("a time that there is not: %+v", got)
	}
}

func TestWhatBecameOfABatchCrosses(t *testing.T) {
	t.Parallel()
	send := func(r metrics.Result, err error, points int) (metrics.Result, error) {
		return ExportFrom(cross(t, ExportTo(r, err), &metricsv1.ExportResponse{}), points, func(e *Error) { e.Plugin = "p" })
	}
	for _, tt := range []struct{ sent, points, want int }{{0, 5, 0}, {3, 5, 3}, {9, 5, 5}, {-1, 5, 0}, {math.MaxInt, 0, 0}} {
		if r, err := send(metrics.Result{Rejected: tt.sent, Reason: "a\nb"}, nil, tt.points); err != nil || r.Rejected != tt.want || r.Reason != "a b" {
			t.Errorf("%d of %d rejected: %+v, %v", tt.sent, tt.points, r, err)
		}
	}
	_, err := send(metrics.Result{Rejected: 1}, metrics.Permanent(errors.New("never")), 5)
	if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, metrics.ErrPermanent) || e.Plugin != "p" || e.Message != "never" {
		t.Errorf("permanent: %v", err)
	}
	_, err = send(metrics.Result{}, fmt.Errorf("later: %w", &metrics.RetryError{After: time.Minute, Err: errors.New("busy")}), 5)
	if e, ok := errors.AsType[*metrics.RetryError](err); !ok || e.After != time.Minute || errors.Is(err, metrics.ErrPermanent) {
		t.Errorf("later: %v", err)
	}
	_, err = send(metrics.Result{}, errors.New("once"), 5)
	if _, later := errors.AsType[*metrics.RetryError](err); err == nil || later || errors.Is(err, metrics.ErrPermanent) {
		t.Errorf("neither: %v", err)
	}
	_, err = send(metrics.Result{}, metrics.Permanent(&metrics.RetryError{After: time.Minute, Err: errors.New("both")}), 5)
	if _, later := errors.AsType[*metrics.RetryError](err); later || !errors.Is(err, metrics.ErrPermanent) {
		t.Errorf("both: %v", err)
	}
	if m := ExportTo(metrics.Result{}, &metrics.RetryError{Err: errors.New("busy")}); m.GetFailure().GetRetryAfter() != nil {
		t.Errorf("later, who knows when: %v", m)
	}
	// Neither side believes that the other keeps to the bounds.
	if m := ExportTo(metrics.Result{Rejected: -1, Reason: "a\nb\x1b"}, nil); m.GetRejected() != 0 || m.GetReason() != "a b " {
		t.Errorf("sent %v", m)
	}
	if r, err := ExportFrom(&metricsv1.ExportResponse{Rejected: -1, Reason: "a\nb\x1b"}, 5, nil); err != nil || r.Rejected != 0 || r.Reason != "a b " {
		t.Errorf("received %v, %v", r, err)
	}
	back := &metricsv1.ExportResponse{Failure: &metricsv1.ExportFailure{RetryAfter: &durationpb.Duration{Seconds: -5}}}
	_, err = ExportFrom(back, 1, func(*Error) {})
	if _, later := errors.AsType[*metrics.RetryError](err); err == nil || later {
		t.Errorf("a time in the past to come back: %v", err)
	}
}

func FuzzBatch(f *testing.F) {
	seed, err := proto.Marshal(BatchTo("i", metrics.Batch{Scopes: []metrics.Scope{{Name: "a", Metrics: []metrics.Metric{
		{Name: "g", Numbers: []metrics.Number{{Value: 1}}},
		{Name: "h", Type: metrics.Histogram, Histograms: []metrics.Distribution{{Bounds: []float64{1}, Buckets: []uint64{1}}}},
	}}}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m metricsv1.ExportRequest
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		// What came over the wire goes over it again, and comes as it was.
		b := BatchFrom(&m)
		again := crossed(t, b)
		if b.Points() != again.Points() || len(b.Scopes) != len(again.Scopes) {
			t.Errorf("%d points became %d", b.Points(), again.Points())
		}
	})
}

func FuzzExportResponse(f *testing.F) {
	for _, m := range []*metricsv1.ExportResponse{
		ExportTo(metrics.Result{Rejected: 1, Reason: "r"}, nil), ExportTo(metrics.Result{}, metrics.Permanent(errors.New("x"))),
	} {
		seed, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m metricsv1.ExportResponse
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		r, err := ExportFrom(&m, 7, func(*Error) {})
		if r.Rejected < 0 || r.Rejected > 7 || strings.ContainsAny(r.Reason, "\n\r\x1b") || len(r.Reason) > 2<<10 {
			t.Errorf("%+v", r)
		}
		if err != nil && (len(err.Error()) > 16<<10 || strings.ContainsRune(err.Error(), 0x1b)) {
			t.Errorf("%d bytes of error: %.100q", len(err.Error()), err)
		}
	})
}
