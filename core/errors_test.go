package core

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestErrorsSayWhatWasTriedOnWhatAndWhy(t *testing.T) {
	t.Parallel()
	cause := errors.New("refused")
	for want, err := range map[string]error{
		"core: db is exhausted: waited 1.5s; 7 leases on 3 of at most 4 resources, 2 more waiting: context canceled; last open failed: refused": &ExhaustedError{
			Pool: "db", Waited: 1500 * time.Millisecond, Max: 4, Live: 3, Leased: 7, Waiting: 2, Open: cause, Cause: context.Canceled,
		},
		"core: db is exhausted: waited 0s; 1 leases on 1 of at most 1 resources, 0 more waiting":   &ExhaustedError{Pool: "db", Max: 1, Live: 1, Leased: 1},
		"core: db is exhausted: waited 0s; 1 leases on 1 resources, 0 more waiting":                &ExhaustedError{Pool: "db", Max: -1, Live: 1, Leased: 1},
		"core: db: open failed after 3 attempts in 2s: refused":                                    &OpenError{Pool: "db", Attempts: 3, Elapsed: 2 * time.Second, Err: cause},
		"core: db: circuit is open, next trial at 1970-01-01T00:00:07Z: refused":                   &CircuitOpenError{Pool: "db", Next: time.Unix(7, 0).UTC(), Cause: cause},
		`core: db: resource 9 pinned by key "k" is gone; acquire with PinOrRebind to take another`: &PinLostError{Pool: "db", Key: "k", ID: 9},
		"core: db closed: 2 leases taken back, 1 callbacks still running: context canceled":        &CloseError{Pool: "db", Revoked: 2, Abandoned: 1, Cause: context.Canceled},
		"core: Open panicked: refused":                                     &PanicError{Callback: "Open", Value: cause},
		"core: Open called runtime.Goexit":                                 &PanicError{Callback: "Open", Goexit: true},
		"core: Probe did not return within 5s and was abandoned":           &TimeoutError{Callback: "Probe", After: 5 * time.Second},
		"core: Config.Min = 3 is more than Max (2): lower Min or so":       &ConfigError{Field: "Min", Value: 3, Problem: "is more than Max (2): lower Min or so"},
		"core: Config.Open is required":                                    &ConfigError{Field: "Open", Problem: "is required"},
		"core: context is nil: pass context.Background() if there is none": ErrNilContext,
	} {
		if got := err.Error(); got != want {
			t.Errorf("%T says\n%s, want\n%s", err, got, want)
		}
	}
}

func TestErrorsWrapWhatIsBehindThem(t *testing.T) {
	t.Parallel()
	cause := &net.OpError{Op: "dial", Err: errors.New("refused")}
	for _, c := range []struct {
		err   error
		is    []error
		isNot []error
	}{
		{&ExhaustedError{Open: cause, Cause: context.DeadlineExceeded}, []error{ErrExhausted, cause, context.DeadlineExceeded}, []error{ErrClosed, ErrCircuitOpen}},
		{&ExhaustedError{}, []error{ErrExhausted}, []error{context.Canceled, context.DeadlineExceeded}},
		{&OpenError{Err: cause}, []error{cause}, []error{ErrExhausted}},
		{&CircuitOpenError{Cause: cause}, []error{ErrCircuitOpen, cause}, []error{ErrExhausted}},
		{&CircuitOpenError{}, []error{ErrCircuitOpen}, []error{cause}},
		{&PinLostError{}, nil, []error{ErrExhausted, ErrClosed}},
		{&CloseError{Cause: context.Canceled}, []error{context.Canceled}, []error{ErrClosed}},
		{&PanicError{Value: cause}, []error{cause}, nil},
		{&PanicError{Value: "text"}, nil, []error{cause}},
		{&TimeoutError{}, []error{context.DeadlineExceeded}, nil},
	} {
		wrapped := fmt.Errorf("serving a request: %w", c.err)
		for _, target := range c.is {
			if !errors.Is(wrapped, target) {
				t.Errorf("%T is not %v", c.err, target)
			}
		}
		for _, target := range c.isNot {
			if errors.Is(wrapped, target) {
				t.Errorf("%T is %v", c.err, target)
			}
		}
	}
}

// An exhausted error says all that Stats would have said when the caller left.
func TestExhaustedErrorTellsWhatThePoolWasDoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.config(3)
		cfg.Name, cfg.AcquireTimeout = "db", 2*time.Second
		p := newThings(t, cfg)
		leases := fill(t, p, 2)
		w.refuse("", errUnreachable)
		other := ask(t.Context(), p, AcquireOptions{})
		time.Sleep(time.Second)
		_, err := p.Acquire(t.Context())
		var e *ExhaustedError
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		want := ExhaustedError{Pool: "db", Waited: e.Waited, Max: 3, Live: 2, Leased: 2, Open: errUnreachable}
		if *e != want || e.Waited != 2*time.Second {
			t.Errorf("%+v, want %+v after 2s", *e, want)
		}
		synctest.Wait()
		if !errors.As(other.err, &e) || e.Waiting != 1 || e.Waited != 2*time.Second {
			t.Errorf("who left before says %v", other.err)
		}
		cause := errors.New("request aborted")
		ctx, cancel := context.WithCancelCause(t.Context())
		third := ask(ctx, p, AcquireOptions{})
		cancel(cause)
		synctest.Wait()
		if !errors.Is(third.err, context.Canceled) || !errors.Is(third.err, cause) || !errors.Is(third.err, errUnreachable) {
			t.Errorf("a cancelled caller got %v", third.err)
		}
		releaseAll(leases)
		if _, err := p.Acquire(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || errors.Is(err, ErrExhausted) {
			t.Errorf("a context that had ended before got %v", err)
		}
	})
}

func TestCloseReasonsHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{"none": true, "unknown": true, "": true}
	for _, r := range CloseReasons() {
		if name := r.String(); seen[name] || strings.ContainsAny(name, " -ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			t.Errorf("reason %d is called %q", r, name)
		} else {
			seen[name] = true
		}
	}
	if len(CloseReasons()) != int(reasonCount)-1 || reasonCount.String() != "unknown" || ReasonNone.String() != "none" {
		t.Errorf("%d reasons", len(CloseReasons()))
	}
	for state, name := range map[CircuitState]string{
		BreakerClosed: "closed", BreakerHalfOpen: "half-open", BreakerOpen: "open", 9: "unknown",
	} {
		if state.String() != name {
			t.Errorf("state %d is called %q, want %q", state, state, name)
		}
	}
}
