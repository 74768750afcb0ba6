package core

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryWaiterLeavesAtItsAcquireTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1, AcquireTimeout: 10 * time.Second}, nil)
		l := s.lease()
		var claims []*claim
		var came []time.Duration
		for i := range 10 {
			s.until(time.Duration(i*i) * 37 * time.Millisecond)
			claims, came = append(claims, s.claim(t.Context())), append(came, s.at())
		}
		impatient := s.claim(within(t, 3*time.Second))
		s.until(time.Minute)
		for i, c := range claims {
			e := as[*ExhaustedError](t, c.failed(t))
			same(t, "how long it waited", c.at-came[i], 10*time.Second)
			same(t, "what it learns", *e, ExhaustedError{
				Pool: "pool", Waited: 10 * time.Second, Max: 1, Live: 1, Leased: 1, Waiting: e.Waiting,
			}, cmpErrors)
			if want := 9 - i; i > 5 && e.Waiting != want { // the impatient one has left by then
				t.Errorf("%d others wait after %d, not %d", e.Waiting, i, want)
			}
			is(t, e, ErrExhausted)
			same(t, "a context is to blame", errors.Is(e, context.DeadlineExceeded), false)
		}
		is(t, impatient.failed(t), context.DeadlineExceeded)
		same(t, "waits", s.Stats().Waits, uint64(12)) // with the one that waited for the open
		same(t, "time waited", s.Stats().WaitTime, 103*time.Second)
		l.Release()
	})
}

func TestThePinnedAndTheExclusiveLeaveAtTheirAcquireTimeoutToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1, ShareLimit: 2, AcquireTimeout: time.Second}, nil)
		held, err := s.AcquireWith(t.Context(), AcquireOptions{Key: "k", Exclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []AcquireOptions{{Key: "k", Affinity: Pin}, {Exclusive: true}, {Key: "k", Affinity: Pin, Exclusive: true}} {
			began := s.at()
			_, err := s.AcquireWith(t.Context(), o)
			is(t, err, ErrExhausted)
			same(t, "wait", s.at()-began, time.Second)
		}
		held.Release()
	})
}

// Expired waiters handed a resource (vitess).
func TestAnExpiredWaiterGetsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1, AcquireTimeout: time.Second}, nil)
		l := s.lease()
		expired := s.claim(t.Context())
		s.until(900 * time.Millisecond)
		fresh := s.claim(t.Context())
		s.until(time.Second)
		l.Release()
		synctest.Wait()
		is(t, expired.failed(t), ErrExhausted)
		fresh.got(t).Release()
	})
}

func TestACallersOwnDeadlineComesBeforeALongAcquireTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1, AcquireTimeout: time.Minute}, nil)
		l := s.lease()
		why := errors.New("the user left")
		ctx, cancel := context.WithCancelCause(t.Context())
		c := s.claim(ctx)
		s.until(time.Second)
		cancel(why)
		synctest.Wait()
		e := as[*ExhaustedError](t, c.failed(t))
		is(t, e, why)
		is(t, e, context.Canceled)
		same(t, "waited", e.Waited, time.Second)
		l.Release()
	})
}

func TestNoWaitSaysWhatThePoolIsDoing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1}, nil)
		l := s.lease()
		c := s.claim(t.Context())
		_, err := s.AcquireWith(t.Context(), AcquireOptions{NoWait: true})
		same(t, "what it learns", *as[*ExhaustedError](t, err), ExhaustedError{
			Pool: "pool", Max: 1, Live: 1, Leased: 1, Waiting: 1,
		}, cmpErrors)
		l.Release()
		synctest.Wait()
		c.got(t).Release()
	})
}

func TestTimesTooLongToAddUpAreForEver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := setStage(t, Config[*part]{Max: 1, AcquireTimeout: never - 1, MaxLifetime: never - 1, LeakAfter: never - 1}, nil)
		s.pass(time.Second)
		l := s.lease()
		c := s.claim(t.Context())
		s.until(1000 * time.Hour)
		same(t, "still waiting", c.done(), false)
		l.Release()
		synctest.Wait()
		c.got(t).Release()
		s.until(1000*time.Hour + 11*time.Minute)
		same(t, "trimmed", s.Stats().ClosedBy[ReasonIdle], uint64(1)) // the keeper is still awake
	})
}

func TestPausesBetweenOpensCannotBeOff(t *testing.T) {
	open := func(context.Context) (*part, error) { return &part{}, nil }
	_, err := New(Config[*part]{Open: open, RetryMin: Off, RetryMax: Off, CircuitMin: Off, CircuitMax: Off})
	var fields []string
	for _, e := range unjoin(err) {
		fields = append(fields, as[*ConfigError](t, e).Field)
	}
	same(t, "fields at fault", fields, []string{"RetryMin", "RetryMax", "CircuitMin", "CircuitMax"})
}
