package sdk

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

func TestOpeningTwiceIsOnceAndAnotherContentIsRefused(t *testing.T) {
	t.Parallel()
	s := newInstances()
	made := 0
	open := func(content string) error {
		_, err := s.open(t.Context(), "a", "auth", digestOf([]byte(content), nil), func() (opened, error) {
			made++
			return opened{close: func(context.Context) error { return nil }}, nil
		})
		return err
	}
	if err := errors.Join(open("x"), open("x")); err != nil || made != 1 {
		t.Errorf("%v, made %d times", err, made)
	}
	if open("y") == nil {
		t.Error("another configuration was taken")
	}
}

func TestAnOpeningThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newInstances()
	_, err := s.open(t.Context(), "a", "auth", digestOf(nil, nil), func() (opened, error) { return opened{}, errors.New("no") })
	if err == nil {
		t.Fatal("no error")
	}
	err = guard("Open", func() error {
		_, err := s.open(t.Context(), "a", "auth", digestOf(nil, nil), func() (opened, error) { panic("no") })
		return err
	})
	if !errors.Is(err, wire.ErrPanic) || len(s.byName) != 0 {
		t.Errorf("%v, %d left", err, len(s.byName))
	}
}

func TestCloseWaitsForTheCallsOfItsInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newInstances()
		closed := false
		s.open(t.Context(), "a", "auth", digestOf(nil, nil), func() (opened, error) {
			return opened{value: 1, close: func(context.Context) error { closed = true; return nil }}, nil
		})
		_, end, err := s.begin("a", "auth")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.begin("a", "probe"); !errors.Is(err, wire.ErrNoInstance) {
			t.Errorf("another kind: %v", err)
		}
		go s.close(t.Context(), "a")
		synctest.Wait()
		if closed {
			t.Error("closed under a call")
		}
		if _, _, err := s.begin("a", "auth"); !errors.Is(err, wire.ErrNoInstance) {
			t.Errorf("a call while it closes: %v", err)
		}
		end()
		synctest.Wait()
		if !closed {
			t.Error("not closed")
		}
	})
}

func TestClosingAllEndsAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newInstances()
		closed := false
		s.open(t.Context(), "a", "auth", digestOf(nil, nil), func() (opened, error) {
			return opened{close: func(context.Context) error { closed = true; return nil }}, nil
		})
		_, end, _ := s.begin("a", "auth")
		defer end()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.closeAll(ctx); err != nil || !closed {
			t.Errorf("%v, closed %v", err, closed)
		}
		if _, err := s.open(t.Context(), "b", "auth", digestOf(nil, nil), nil); err == nil {
			t.Error("opened after the end")
		}
	})
}

func TestAnInstanceThatIsClosedWhileItOpensIsClosedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newInstances()
		gate, closes := make(chan struct{}), 0
		go s.open(t.Context(), "a", "auth", digestOf(nil, nil), func() (opened, error) {
			<-gate
			return opened{close: func(context.Context) error { closes++; return nil }}, nil
		})
		synctest.Wait()
		s.close(t.Context(), "a")
		close(gate)
		synctest.Wait()
		if closes != 1 || len(s.byName) != 0 {
			t.Errorf("closed %d times, %d left", closes, len(s.byName))
		}
	})
}

// Whoever gives an opening up closes it while it may just have come to its end.
func TestAnInstanceThatIsClosedAsItsOpeningEndsIsClosedOnceConcurrentSafe(t *testing.T) {
	t.Parallel()
	for range 5_000 {
		s := newInstances()
		var closes atomic.Int64
		building, opens := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(opens)
			s.open(t.Context(), "a", "auth", digestOf(nil, nil), func() (opened, error) {
				close(building)
				return opened{close: func(context.Context) error { closes.Add(1); return nil }}, nil
			})
		}()
		<-building
		s.close(t.Context(), "a")
		<-opens
		if n := closes.Load(); n != 1 {
			t.Fatalf("closed %d times", n)
		}
	}
}
