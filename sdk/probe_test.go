package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	probev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/probe/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// looks is a prober that is a function.
type looks func(ctx context.Context, target probe.Target) (probe.Verdict, error)

func (f looks) Probe(ctx context.Context, target probe.Target) (probe.Verdict, error) {
	return f(ctx, target)
}

// look is a probe whose host is the test.
type look struct {
	*line[probev1.ProbeRequest, probev1.ProbeResponse]

	set *instances
}

func newLook(t *testing.T, f looks) *look {
	t.Helper()
	return &look{newLine[probev1.ProbeRequest, probev1.ProbeResponse](t), with(t, wire.KindProbe, f, func() {})}
}

func (l *look) begin() *look {
	l.t.Helper()
	l.serve(func() error { return (&probeServer{set: l.set}).Probe(l) })
	l.tell(&probev1.ProbeRequest{Message: &probev1.ProbeRequest_Begin{Begin: &probev1.Begin{
		Instance: "i", Target: &probev1.Target{Methods: []string{"m"}},
	}}})
	return l
}

// answer answers a call with a value.
func (l *look) answer(id uint64, value string) {
	l.t.Helper()
	l.result(&probev1.CallResult{Id: id, Outcome: &probev1.CallResult_Value{Value: []byte(value)}})
}

func (l *look) result(m *probev1.CallResult) {
	l.t.Helper()
	l.tell(&probev1.ProbeRequest{Message: &probev1.ProbeRequest_Result{Result: m}})
}

// verdict waits for the end of the probe.
func (l *look) verdict() (probe.Verdict, error) {
	l.t.Helper()
	said := l.ends()
	if l.err != nil || len(said) == 0 || said[len(said)-1].GetDone() == nil {
		l.t.Fatalf("the probe ended with %v, %v", said, l.err)
	}
	done := said[len(said)-1].GetDone()
	if f := done.GetFailure(); f != nil {
		return probe.Verdict{}, wire.FromFailure(f)
	}
	return wire.VerdictFrom(done.GetVerdict()), nil
}

func (l *look) calls() []*probev1.Call {
	var calls []*probev1.Call
	for _, m := range l.all() {
		if c := m.GetCall(); c != nil {
			calls = append(calls, c)
		}
	}
	return calls
}

func (l *look) cancelled() []uint64 {
	var ids []uint64
	for _, m := range l.all() {
		if c := m.GetCancel(); c != nil {
			ids = append(ids, c.GetId())
		}
	}
	return ids
}

func TestAProbeBeginsWithItsTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLook(t, nil)
		l.serve(func() error { return (&probeServer{set: l.set}).Probe(l) })
		l.answer(1, "x")
		if said := l.ends(); !strings.Contains(fmt.Sprint(l.failed()), errFirstMessage.Error()) || len(said) != 0 {
			t.Errorf("%v, %v", l.failed(), said)
		}
	})
}

func TestAProberIsClosedAfterItsProbesAndKnowsTheirTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over, closed := false, false
		l := newLook(t, nil)
		l.set = with(t, wire.KindProbe, looks(func(ctx context.Context, _ probe.Target) (probe.Verdict, error) {
			if got := Traceparent(ctx); got != traceparent {
				t.Errorf("the trace is %q", got)
			}
			time.Sleep(time.Second)
			over = true
			return probe.Verdict{Status: probe.Degraded}, nil
		}), func() {
			if closed = true; !over {
				t.Error("the prober is closed under a probe")
			}
		})
		l.begin()
		synctest.Wait()
		if err := l.set.close(t.Context(), "i"); err != nil || !closed {
			t.Errorf("%v, closed: %v", err, closed)
		}
		if v, err := l.verdict(); err != nil || v.Status != probe.Degraded {
			t.Errorf("%v, %v", v, err)
		}
	})
}

func TestAProbeEndsWhenTheHostSaysNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLook(t, func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
			if _, err := target.Call(context.Background(), "m", nil); !errors.Is(err, context.Canceled) {
				t.Errorf("a call without an answer: %v", err)
			}
			<-ctx.Done()
			return probe.Verdict{}, ctx.Err()
		}).begin()
		synctest.Wait()
		close(l.in)
		if _, err := l.verdict(); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// ended is a context that says why it has ended before anybody can wait for it.
type ended struct {
	context.Context

	done chan struct{}
}

func (c *ended) Done() <-chan struct{} { return c.done }

// The stream's context says why, and what the stream says of its end comes at any moment.
func TestAProbeThatRunsOutOfTimeKnowsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var why error
		l := newLook(t, func(ctx context.Context, _ probe.Target) (probe.Verdict, error) {
			<-ctx.Done()
			why = ctx.Err()
			return probe.Verdict{}, why
		})
		ctx, cancel := context.WithTimeout(l.ctx, time.Second)
		defer cancel()
		ours := &ended{ctx, make(chan struct{})}
		l.ctx = ours
		l.begin()
		synctest.Wait()
		<-ctx.Done()
		close(l.in) // what Recv returns then matters to nobody
		synctest.Wait()
		close(ours.done)
		if l.ends(); !errors.Is(why, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", why)
		}
	})
}

func TestAProberThatPanicsHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLook(t, func(context.Context, probe.Target) (probe.Verdict, error) { panic("hush4711") }).begin()
		if _, err := l.verdict(); !errors.Is(err, wire.ErrPanic) || strings.Contains(err.Error(), "hush4711") {
			t.Errorf("%v", err)
		}
	})
}

func TestATargetThatWasKeptCallsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept probe.Target
		l := newLook(t, func(_ context.Context, target probe.Target) (probe.Verdict, error) {
			kept = target
			return probe.Verdict{Status: probe.Healthy}, nil
		})
		l.on = func(m *probev1.ProbeResponse) {
			if m.GetDone() == nil {
				t.Errorf("after the end it said %v", m)
			}
		}
		l.begin()
		if v, err := l.verdict(); err != nil || v.Status != probe.Healthy {
			t.Errorf("%v, %v", v, err)
		}
		for range 50 {
			if _, err := kept.Call(t.Context(), "m", nil); !errors.Is(err, context.Canceled) {
				t.Fatalf("a call after the end: %v", err)
			}
		}
	})
}

func TestACallThatTheTargetDoesNotListIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLook(t, func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
			_, err := target.Call(ctx, "other", nil)
			return probe.Verdict{Status: probe.Healthy}, ignore(err, probe.ErrNotListed)
		}).begin()
		if _, err := l.verdict(); err != nil || len(l.all()) != 1 {
			t.Errorf("%v, %v", err, l.all())
		}
	})
}

// ignore is nil for an error that is expected.
func ignore(err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("want %w, got %w", want, err)
}

// What the wire would not take would cost the whole probe.
func TestParamsThatFitIntoNoMessageAreRefused(t *testing.T) {
	const limit = 64 << 10
	t.Setenv(wire.EnvMaxMessage, fmt.Sprint(limit))
	synctest.Test(t, func(t *testing.T) {
		l := newLook(t, func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
			if _, err := target.Call(ctx, "m", make(json.RawMessage, limit-wire.PartRoom+1)); err == nil ||
				!strings.Contains(err.Error(), fmt.Sprintf("at most %d are allowed", limit-wire.PartRoom)) {
				t.Errorf("one byte too many: %v", err)
			}
			value, err := target.Call(ctx, "m", make(json.RawMessage, limit-wire.PartRoom))
			return probe.Verdict{Reason: string(value)}, err
		}).begin()
		synctest.Wait()
		if n := proto.Size(l.all()[0]); n > limit {
			t.Errorf("a message of %d bytes", n)
		}
		l.answer(1, "taken")
		if v, err := l.verdict(); err != nil || v.Reason != "taken" || len(l.calls()) != 1 {
			t.Errorf("%v, %v, %d calls", v, err, len(l.calls()))
		}
	})
}

func TestACallSaysHowMuchTimeThereIsAndWhenNobodyWaitsAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		given := errors.New("given up")
		l := newLook(t, func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
			soon, cancel := context.WithTimeoutCause(ctx, time.Second, given)
			defer cancel()
			if _, err := target.Call(soon, "m", nil); !errors.Is(err, given) {
				t.Errorf("a call without an answer: %v", err)
			}
			past := &ended{overdue{ctx}, make(chan struct{})}
			if value, err := target.Call(past, "m", nil); err != nil || string(value) != "late" {
				t.Errorf("a call that is late: %q, %v", value, err)
			}
			value, err := target.Call(ctx, "m", nil)
			return probe.Verdict{Reason: string(value)}, err
		}).begin()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		l.answer(2, "late")
		synctest.Wait()
		l.answer(3, "value")
		if v, err := l.verdict(); err != nil || v.Reason != "value" {
			t.Errorf("%v, %v", v, err)
		}
		calls := l.calls()
		if len(calls) != 3 || calls[0].GetTimeout().AsDuration() != time.Second || calls[1].GetTimeout() == nil ||
			calls[1].GetTimeout().AsDuration() != 0 || calls[2].GetTimeout() != nil {
			t.Errorf("it called %v", calls)
		}
		if got := l.cancelled(); len(got) != 1 || got[0] != calls[0].GetId() {
			t.Errorf("it cancelled %v", got)
		}
	})
}

// overdue is a context whose deadline has passed just now.
type overdue struct{ context.Context }

func (overdue) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// Calls that were given up count until the host has answered them, as it counts them.
func TestACallWaitsUntilTheHostHasAnsweredOneOfTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLook(t, func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
			given, giveUp := context.WithCancel(ctx)
			var wg sync.WaitGroup
			for range wire.MaxCalls {
				wg.Go(func() { target.Call(given, "m", nil) })
			}
			synctest.Wait()
			giveUp()
			wg.Wait()
			soon, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, err := target.Call(soon, "m", nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("one call too many: %v", err)
			}
			value, err := target.Call(ctx, "m", nil)
			if err != nil {
				return probe.Verdict{}, err
			}
			wg.Go(func() {
				_, err = target.Call(context.Background(), "m", nil)
			})
			for range wire.MaxCalls { // all but the first are not answered yet
				wg.Go(func() { target.Call(context.Background(), "m", nil) })
			}
			<-ctx.Done() // the host is gone, and all of them end
			wg.Wait()
			return probe.Verdict{Reason: string(value)}, ignore(err, context.Canceled)
		}).begin()
		time.Sleep(time.Minute)
		if n := len(l.calls()); n != wire.MaxCalls {
			t.Errorf("%d calls without an answer, want %d", n, wire.MaxCalls)
		}
		l.answer(7, "nobody waits for it")
		synctest.Wait()
		l.answer(wire.MaxCalls+1, "value")
		synctest.Wait()
		if n := len(l.calls()); n != wire.MaxCalls+2 {
			t.Errorf("%d calls, want %d", n, wire.MaxCalls+2)
		}
		close(l.in)
		if v, err := l.verdict(); err != nil || v.Reason != "value" {
			t.Errorf("%v, %v", v, err)
		}
	})
}

func TestTheOutcomesOfACallKeepTheirTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []error
		l := newLook(t, func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
			for range 3 {
				_, err := target.Call(ctx, "m", nil)
				got = append(got, err)
			}
			return probe.Verdict{}, nil
		}).begin()
		for id, m := range []*probev1.CallResult{
			{Outcome: &probev1.CallResult_Error{Error: &probev1.CallError{Code: -32000, Message: "no"}}},
			{Outcome: &probev1.CallResult_NotListed{NotListed: &probev1.NotListed{}}},
			{Outcome: &probev1.CallResult_Failure{Failure: wire.Failure(fmt.Errorf("the line: %w", context.DeadlineExceeded))}},
		} {
			synctest.Wait()
			m.Id = uint64(id + 1)
			l.result(m)
		}
		if _, err := l.verdict(); err != nil {
			t.Fatal(err)
		}
		if e, ok := errors.AsType[*probe.CallError](got[0]); !ok || *e != (probe.CallError{Method: "m", Code: -32000, Message: "no"}) {
			t.Errorf("an error of the resource: %v", got[0])
		}
		if !errors.Is(got[1], probe.ErrNotListed) || !strings.Contains(got[1].Error(), `"m"`) {
			t.Errorf("not listed: %v", got[1])
		}
		if !errors.Is(got[2], context.DeadlineExceeded) || got[2].Error() != "plugin host: m: the line: context deadline exceeded" {
			t.Errorf("no answer: %v", got[2])
		}
	})
}

// A host that answers twice, or what nobody asked, has said nothing.
func TestOneAnswerOfACallCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLook(t, func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
			first, err := target.Call(ctx, "m", nil)
			time.Sleep(time.Second)
			second, err2 := target.Call(ctx, "m", nil)
			return probe.Verdict{Reason: fmt.Sprintf("%s %s", first, second)}, errors.Join(err, err2)
		}).begin()
		l.answer(99, "what?")
		synctest.Wait()
		for _, value := range []string{"one", "two", "three"} {
			l.answer(1, value)
		}
		time.Sleep(2 * time.Second)
		l.answer(2, "four")
		if v, err := l.verdict(); err != nil || v.Reason != "one four" {
			t.Errorf("%v, %v", v, err)
		}
	})
}

// A host may be quicker than the goroutine that called.
func TestAnAnswerMayComeBeforeTheCallIsSentWhole(t *testing.T) {
	t.Parallel()
	l := newLook(t, func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
		value, err := target.Call(ctx, "m", nil)
		return probe.Verdict{Reason: string(value)}, err
	})
	l.on = func(m *probev1.ProbeResponse) {
		if m.GetCall() != nil {
			l.answer(m.GetCall().GetId(), "quick")
			l.answer(0, "that the other has arrived")
		}
	}
	if v, err := l.begin().verdict(); err != nil || v.Reason != "quick" {
		t.Errorf("%v, %v", v, err)
	}
}

func TestACallThatCannotBeSentHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLook(t, nil)
		l.set = with(t, wire.KindProbe, looks(func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
			l.torn.Store(true)
			_, err := target.Call(ctx, "m", nil)
			l.torn.Store(false)
			return probe.Verdict{}, err
		}), func() {})
		l.begin()
		if _, err := l.verdict(); err == nil || !strings.Contains(err.Error(), "torn") {
			t.Errorf("%v", err)
		}
	})
}

func TestCallsOfOneProbeDoNotDisturbEachOtherConcurrentSafe(t *testing.T) {
	t.Parallel()
	const callers, each = 4, 50
	l := newLook(t, func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
		var wg sync.WaitGroup
		for n := range callers {
			wg.Go(func() {
				for i := range each {
					want := fmt.Sprint(n, " ", i)
					if got, err := target.Call(ctx, "m", json.RawMessage(want)); err != nil || string(got) != want {
						t.Errorf("asked %s, got %s, %v", want, got, err)
					}
				}
			})
		}
		wg.Wait()
		go func() { // the last goes on beside the verdict
			for range each {
				target.Call(ctx, "m", json.RawMessage("beside"))
			}
		}()
		return probe.Verdict{Status: probe.Healthy}, nil
	})
	calls := make(chan *probev1.Call, wire.MaxCalls)
	l.on = func(m *probev1.ProbeResponse) {
		if m.GetCall() != nil {
			calls <- m.GetCall()
		}
	}
	l.begin()
	for {
		select {
		case c := <-calls:
			select {
			case l.in <- &probev1.ProbeRequest{Message: &probev1.ProbeRequest_Result{Result: &probev1.CallResult{
				Id: c.GetId(), Outcome: &probev1.CallResult_Value{Value: c.GetParams()},
			}}}:
			case <-l.done:
			}
		case <-l.done:
			if v, err := l.verdict(); err != nil || v.Status != probe.Healthy {
				t.Errorf("%v, %v", v, err)
			}
			return
		}
	}
}
