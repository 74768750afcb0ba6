package debug

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

func TestWhatHappensToThePoolIsAnEventWithItsCause(t *testing.T) {
	t.Parallel()
	ctx, why := t.Context(), errors.New("refused")
	for _, test := range []struct {
		fire func(h core.Hooks)
		want Event
	}{
		{func(h core.Hooks) { h.OpenEnd(ctx, core.OpenEnd{Pool: "p", ID: 1}) }, Event{Level: Good, What: "session opened", Session: 1}},
		{func(h core.Hooks) { h.OpenEnd(ctx, core.OpenEnd{Pool: "p", Err: why}) }, Event{Level: Bad, What: "open failed", Cause: "refused"}},
		{
			func(h core.Hooks) { h.CloseEnd(ctx, core.CloseEnd{Pool: "p", ID: 2, Reason: core.ReasonIdle}) },
			Event{Level: Info, What: "session closed: idle", Session: 2},
		},
		{
			func(h core.Hooks) {
				h.CloseEnd(ctx, core.CloseEnd{Pool: "p", ID: 2, Reason: core.ReasonBroken, Cause: why})
			},
			Event{Level: Warn, What: "session closed: broken", Session: 2, Cause: "refused"},
		},
		{
			func(h core.Hooks) {
				h.CloseEnd(ctx, core.CloseEnd{Pool: "p", ID: 2, Reason: core.ReasonEvicted, Cause: why})
			},
			Event{Level: Warn, What: "session closed: evicted", Session: 2, Cause: "refused"},
		},
		{
			func(h core.Hooks) { h.CloseEnd(ctx, core.CloseEnd{Pool: "p", ID: 2, Reason: core.ReasonEvicted}) },
			Event{Level: Info, What: "session closed: evicted", Session: 2},
		},
		{
			func(h core.Hooks) {
				h.CloseEnd(ctx, core.CloseEnd{Pool: "p", ID: 2, Reason: core.ReasonClosed, Err: why})
			},
			Event{Level: Warn, What: "close failed", Session: 2, Cause: "refused"},
		},
		{func(h core.Hooks) { h.ProbeEnd(ctx, core.ProbeEnd{Pool: "p", ID: 3, Err: why}) }, Event{Level: Warn, What: "probe failed", Session: 3, Cause: "refused"}},
		{func(h core.Hooks) { h.CircuitOpened(core.CircuitOpened{Pool: "p", Cause: why}) }, Event{Level: Bad, What: "circuit opened", Cause: "refused"}},
		{func(h core.Hooks) { h.CircuitClosed(core.CircuitClosed{Pool: "p"}) }, Event{Level: Good, What: "circuit closed"}},
		{func(h core.Hooks) { h.Degraded(core.Degraded{Pool: "p", Cause: why}) }, Event{Level: Bad, What: "degraded", Cause: "refused"}},
		{func(h core.Hooks) { h.Recovered(core.Recovered{Pool: "p"}) }, Event{Level: Good, What: "recovered"}},
		{func(h core.Hooks) { h.Resized(core.Resized{Pool: "p"}) }, Event{Level: Info, What: "resized"}},
		{func(h core.Hooks) { h.Leaked(core.Leaked{Pool: "p", ID: 4}) }, Event{Level: Warn, What: "session held long", Session: 4}},
		{
			func(h core.Hooks) { h.Panicked(core.Panicked{Pool: "p", Err: &core.PanicError{Value: "boom"}}) },
			Event{Level: Bad, What: "callback panicked", Cause: (&core.PanicError{Value: "boom"}).Error()},
		},
	} {
		page, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		test.fire(page.Hooks().Core)
		changes := page.view().Changes
		if len(changes) == 0 {
			t.Errorf("%s: no event", test.want.What)
			continue
		}
		got := changes[0]
		test.want.First, test.want.Last, test.want.Count, test.want.Pool = got.First, got.Last, 1, "p"
		if got != test.want {
			t.Errorf("%+v, want %+v", got, test.want)
		}
	}
	page, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	page.Hooks().Core.ProbeEnd(ctx, core.ProbeEnd{Pool: "p", ID: 3})
	if got := page.view().Changes; len(got) != 0 {
		t.Errorf("a probe that went well is an event: %v", got)
	}
}

func TestThePlotOfWaitsHasTheLongestOfEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page, err := New(Config{Interval: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		pool, err := mcpool.Open(t.Context(), mcpool.Config{
			Lazy: true, Min: mcpool.Off,
			Transport: func(context.Context, mcpool.Dial) (mcp.Transport, error) { return nil, errors.New("away") },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close(context.Background())
		if err := page.Watch(pool); err != nil {
			t.Fatal(err)
		}
		h := page.Hooks().Core
		for _, wait := range []time.Duration{time.Second, 3 * time.Second, 2 * time.Second} {
			h.AcquireEnd(t.Context(), core.AcquireEnd{Wait: wait})
		}
		time.Sleep(90 * time.Second)
		h.AcquireEnd(t.Context(), core.AcquireEnd{Wait: time.Millisecond})
		time.Sleep(time.Minute)
		var longest []float64
		for _, p := range page.view().Points {
			longest = append(longest, p.WaitMax)
		}
		if len(longest) != 3 || longest[0] != 0 || longest[1] != 3 || longest[2] != .001 {
			t.Errorf("the longest waits are %v", longest)
		}
		if err := page.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
