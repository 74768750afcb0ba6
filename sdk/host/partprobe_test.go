//go:build unix

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

type lookerConfig struct {
	Refuse string `json:"refuse"`
}

// looker is a prober that does what the target's ID says.
type looker struct{ in sdk.Instance }

func newLooker(ctx context.Context, cfg lookerConfig) (*looker, error) {
	in, _ := sdk.InstanceOf(ctx)
	if cfg.Refuse != "" {
		return nil, &probe.ConfigError{Field: "refuse", Problem: "says " + cfg.Refuse}
	}
	return &looker{in}, nil
}

func (l *looker) Probe(ctx context.Context, target probe.Target) (probe.Verdict, error) {
	about := target.Describe()
	verb, arg, _ := strings.Cut(about.ID, ":")
	switch verb {
	case "call":
		value, err := target.Call(ctx, arg, json.RawMessage(`{"a":1}`))
		var answered *probe.CallError
		switch {
		case errors.Is(err, probe.ErrNotListed):
			return probe.Verdict{Status: probe.Degraded, Reason: "not listed"}, nil
		case errors.As(err, &answered):
			return probe.Verdict{Status: probe.Unhealthy, Reason: fmt.Sprintf("%s %d %s", answered.Method, answered.Code, answered.Message)}, nil
		case err != nil:
			return probe.Verdict{}, fmt.Errorf("no answer: %w", err)
		}
		return probe.Verdict{Status: probe.Healthy, Reason: string(value) + " of " + about.Kind + about.Pool + about.Attrs["x"]}, nil
	case "size":
		value, err := target.Call(ctx, arg, nil)
		return probe.Verdict{Status: probe.Healthy, Reason: fmt.Sprint(len(value))}, err
	case "many": // so many calls at the same time
		count, _ := strconv.Atoi(arg)
		var failed atomic.Int64
		var wg sync.WaitGroup
		for range count {
			wg.Go(func() {
				if _, err := target.Call(ctx, "gather", nil); err != nil {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		return probe.Verdict{Status: probe.Healthy, Reason: fmt.Sprintf("%d failed", failed.Load())}, ctx.Err()
	case "early": // gives up one call and makes another
		soon, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		_, err := target.Call(soon, "hang", nil)
		value, err2 := target.Call(ctx, "ping", nil)
		return probe.Verdict{Status: probe.Healthy, Reason: fmt.Sprint(errors.Is(err, context.DeadlineExceeded), string(value))}, err2
	case "lines":
		return probe.Verdict{Status: probe.Status(77), Reason: "one\ntwo\x1b[2J"}, nil
	case "panic":
		panic("hush4711")
	case "hang":
		<-ctx.Done()
		return probe.Verdict{}, ctx.Err()
	case "exit":
		os.Exit(7) //nolint:gocritic // that nothing deferred runs is the point
	case "exitonce":
		mark := filepath.Join(l.in.StateDir, "mark")
		if _, err := os.Stat(mark); err != nil {
			os.WriteFile(mark, nil, 0o600)
			os.Exit(7)
		}
	}
	return probe.Verdict{Status: probe.Healthy}, nil
}

// drain is a sink that does what the first scope's name says.
type drain struct{ in sdk.Instance }

func newDrain(ctx context.Context, _ lookerConfig) (*drain, error) {
	in, _ := sdk.InstanceOf(ctx)
	return &drain{in}, nil
}

func (d *drain) Export(ctx context.Context, b metrics.Batch) (metrics.Result, error) {
	switch b.Scopes[0].Name {
	case "whole":
		if want := batch("whole"); !reflect.DeepEqual(b, want) {
			return metrics.Result{}, fmt.Errorf("got %+v\nwant %+v", b, want)
		}
		return metrics.Result{Rejected: 1, Reason: "one is\nenough"}, nil
	case "permanent":
		return metrics.Result{}, metrics.Permanent(errors.New("never"))
	case "later":
		return metrics.Result{}, &metrics.RetryError{After: 7 * time.Second, Err: errors.New("later")}
	case "lies":
		return metrics.Result{Rejected: 1 << 40}, nil
	case "hang":
		<-ctx.Done()
		return metrics.Result{}, ctx.Err()
	case "panic":
		panic("hush4711")
	case "exitonce":
		mark := filepath.Join(d.in.StateDir, "mark")
		if _, err := os.Stat(mark); err != nil {
			os.WriteFile(mark, nil, 0o600)
			os.Exit(7)
		}
	}
	return metrics.Result{}, nil
}

func (d *drain) Close(context.Context) error {
	return os.WriteFile(filepath.Join(d.in.StateDir, "closed"), nil, 0o600)
}

// batch has every field.
func batch(name string) metrics.Batch {
	at, start := time.Unix(1700000000, 5).UTC(), time.Unix(1600000000, 0).UTC()
	attrs := []metrics.Attribute{{Key: "k", Value: "v"}}
	return metrics.Batch{
		Resource: metrics.Resource{Attributes: []metrics.Attribute{{Key: "service.name", Value: "s"}}},
		Scopes: []metrics.Scope{{Name: name, Version: "1", Metrics: []metrics.Metric{
			{Name: "g", Help: "h", Unit: "s", Type: metrics.Gauge, Numbers: []metrics.Number{{Time: at, Value: 0.5}}},
			{Name: "s", Type: metrics.Sum, Monotonic: true, Numbers: []metrics.Number{{Attributes: attrs, Start: start, Time: at, Value: 7}}},
			{Name: "d", Type: metrics.Histogram, Histograms: []metrics.Distribution{{
				Attributes: attrs, Start: start, Time: at, Count: 3, Sum: 4, Bounds: []float64{1, 2}, Buckets: []uint64{1, 1, 1},
			}}},
		}}},
	}
}
