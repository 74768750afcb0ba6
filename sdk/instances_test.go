package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
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
	if _, err := s.open(t.Context(), "a", "probe", digestOf([]byte("x"), nil), nil); err == nil {
		t.Error("another kind was taken")
	}
}

// The one that began it has no more time; who waits for it has.
func TestAnOpeningThatWasGivenUpIsBegunAgainByWhoWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newInstances()
		open := func(ctx context.Context) error {
			o, err := s.open(ctx, "a", "auth", digestOf(nil, nil), func() (opened, error) {
				select {
				case <-time.After(time.Second):
					return opened{value: 7, close: func(context.Context) error { return nil }}, nil
				case <-ctx.Done():
					return opened{}, ctx.Err()
				}
			})
			if err == nil && o.value != 7 {
				t.Errorf("got %v", o.value)
			}
			return err
		}
		soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		hasty := make(chan error, 1)
		go func() { hasty <- open(soon) }()
		synctest.Wait()
		var patient sync.WaitGroup
		for range 3 {
			patient.Go(func() {
				if err := open(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		patient.Wait()
		if err := <-hasty; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first: %v", err)
		}
	})
}

// It would be open although it was closed.
func TestAnOpeningThatWasGivenUpAndClosedIsNotBegunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newInstances()
		soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		open := func(ctx context.Context) error {
			_, err := s.open(ctx, "a", "auth", digestOf(nil, nil), func() (opened, error) {
				<-ctx.Done()
				return opened{}, ctx.Err()
			})
			return err
		}
		go open(soon)
		synctest.Wait()
		patient := make(chan error, 1)
		go func() { patient <- open(t.Context()) }()
		synctest.Wait()
		if err := s.close(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if err := <-patient; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhoOpensWhatIsBeingOpenedWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newInstances()
		gate := make(chan struct{})
		type outcome struct {
			opened
			error
		}
		results := make(chan outcome, 2)
		for range 2 {
			go func() {
				o, err := s.open(t.Context(), "a", "auth", digestOf(nil, nil), func() (opened, error) {
					<-gate
					return opened{value: 7, close: func(context.Context) error { return nil }}, nil
				})
				results <- outcome{o, err}
			}()
		}
		synctest.Wait()
		if _, _, err := s.begin("a", "auth"); !errors.Is(err, wire.ErrNoInstance) {
			t.Errorf("a call while it opens: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.open(ctx, "a", "auth", digestOf(nil, nil), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who waited until its context ended: %v", err)
		}
		close(gate)
		for range 2 {
			if got := <-results; got.value != 7 || got.error != nil {
				t.Errorf("opened %v, %v", got.value, got.error)
			}
		}
	})
}

func TestOpeningOneNameAtTheSameTimeIsOnceConcurrentSafe(t *testing.T) {
	t.Parallel()
	s := newInstances()
	var made atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 100 {
				_, err := s.open(t.Context(), fmt.Sprint(n), "auth", digestOf(nil, nil), func() (opened, error) {
					made.Add(1)
					return opened{close: func(context.Context) error { return nil }}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := made.Load(); n != 100 {
		t.Errorf("%d were made of 100 names", n)
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
		if _, err := s.open(t.Context(), "b", "auth", digestOf(nil, nil), nil); !errors.Is(err, auth.ErrClosed) {
			t.Errorf("opening after the end: %v", err)
		}
	})
}

func TestClosingAllClosesThemAlsoWhenItsContextHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newInstances()
		closed := false
		s.open(t.Context(), "a", "auth", digestOf(nil, nil), func() (opened, error) {
			return opened{close: func(context.Context) error { time.Sleep(time.Second); closed = true; return nil }}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.closeAll(ctx); err != nil || !closed {
			t.Errorf("%v, closed %v", err, closed)
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

func TestAnOpeningThatWasGivenUpTouchesNoOtherOfItsName(t *testing.T) {
	for _, failure := range []error{nil, errors.New("no")} {
		synctest.Test(t, func(t *testing.T) {
			s := newInstances()
			gate, ends := make(chan struct{}), []error(nil) // of the contexts that it is closed with
			ctx, giveUp := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() {
				_, err := s.open(ctx, "a", "auth", digestOf(nil, nil), func() (opened, error) {
					<-gate
					if failure != nil {
						return opened{}, failure
					}
					return opened{close: func(ctx context.Context) error { ends = append(ends, ctx.Err()); return nil }}, nil
				})
				result <- err
			}()
			synctest.Wait()
			giveUp()
			s.close(t.Context(), "a")
			s.open(t.Context(), "a", "auth", digestOf([]byte("other"), nil), func() (opened, error) {
				return opened{value: "other", close: func(context.Context) error { return nil }}, nil
			})
			close(gate)
			if err := <-result; !errors.Is(err, failure) {
				t.Errorf("the one that was given up: %v", err)
			}
			if failure == nil && !slices.Equal(ends, []error{nil}) {
				t.Errorf("it was closed with contexts that had ended so: %v, want one that had not", ends)
			}
			value, end, err := s.begin("a", "auth")
			if value != "other" || err != nil {
				t.Fatalf("the other: %v, %v", value, err)
			}
			end()
		})
	}
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

// The process ends after that.
func TestWhatOthersHadBegunIsWaitedFor(t *testing.T) {
	for name, steps := range map[string]int{"closing": 1, "opening": 2} { // which is followed by a closing
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newInstances()
				gate, settled := make(chan struct{}), false
				slow := opened{close: func(context.Context) error { <-gate; return nil }}
				go s.open(t.Context(), "a", "auth", digestOf(nil, nil), func() (opened, error) {
					if name == "opening" {
						<-gate
					}
					return slow, nil
				})
				synctest.Wait()
				if name == "closing" {
					go s.close(t.Context(), "a")
					synctest.Wait()
				}
				go func() {
					s.closeAll(t.Context())
					s.settle()
					settled = true
				}()
				for n := range steps {
					synctest.Wait()
					if settled {
						t.Errorf("settled after %d of %d", n, steps)
					}
					gate <- struct{}{}
				}
				synctest.Wait()
				if !settled {
					t.Error("not settled")
				}
			})
		})
	}
}
