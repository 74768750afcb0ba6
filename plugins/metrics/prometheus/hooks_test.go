package poolprom

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// outcomes are the observations of a histogram, by outcome.
func outcomes(t *testing.T, c *Collector, name string) map[string]uint64 {
	t.Helper()
	all := make(map[string]uint64)
	for _, m := range gather(t, c)["mcpool_"+name].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == labelError && m.GetHistogram().GetSampleCount() > 0 {
				all[l.GetValue()] += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return all
}

func TestTimesAreToldApartByOutcome(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	h, ctx := c.MCPHooks("m"), t.Context()
	for n, err := range map[int]error{
		1: nil, 2: &core.ExhaustedError{}, 4: context.Canceled, 8: errors.New("no key"),
	} {
		for range n {
			h.Core.AcquireEnd(ctx, core.AcquireEnd{Err: err})
		}
	}
	for n, err := range map[int]error{1: nil, 2: errors.New("refused")} {
		for range n {
			h.Core.OpenEnd(ctx, core.OpenEnd{Err: err})
		}
	}
	for n, e := range map[int]mcpool.CallEnd{1: {}, 2: {ToolFailed: true}, 4: {Err: errors.New("gone")}, 8: {ToolFailed: true, Err: errors.New("gone")}} {
		for range n {
			h.CallEnd(ctx, e)
		}
	}
	for name, want := range map[string]map[string]uint64{
		nameWait: {"ok": 1, "gave_up": 6, "error": 8},
		nameOpen: {"ok": 1, "error": 2},
		nameCall: {"ok": 1, "tool_error": 2, "error": 12},
	} {
		if diff := cmp.Diff(want, outcomes(t, c, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestNativeBucketsAreBounded(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	h := c.Hooks("db")
	for i := range 5000 { // from a nanosecond to a century
		h.Released(core.Released{Held: time.Duration(math.Exp(float64(i) / 5000 * math.Log(3e18)))})
	}
	native := gather(t, c)["mcpool_hold_duration_seconds"].GetMetric()[0].GetHistogram()
	if n := len(native.GetPositiveDelta()); n == 0 || n > 160 || native.GetSampleCount() != 5000 {
		t.Errorf("%d native buckets for %d times", n, native.GetSampleCount())
	}
}

func TestAPoolThatWasRemovedHasNoTimesEither(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	use(c)
	c.Hooks("other").Released(core.Released{Held: time.Second})
	c.Remove("m")
	families := gather(t, c)
	for _, h := range Histograms() {
		for _, m := range families["mcpool_"+h.Name].GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == labelPool && l.GetValue() == "m" {
					t.Errorf("%s is shown still", h.Name)
				}
			}
		}
	}
	if n := len(families["mcpool_hold_duration_seconds"].GetMetric()); n != 1 {
		t.Errorf("%d pools have times, want the one that stayed", n)
	}
}
