package wire

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type dueKey struct{}

func TestADueContextEndsAsOneWithADeadline(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		ask    bool // for Done, before anything happens
		happen func(cancelParent, release func())
		want   error
	}{
		{"nothing", false, func(_, _ func()) {}, nil},
		{"nothing, asked", true, func(_, _ func()) {}, nil},
		{"time", false, func(_, _ func()) { time.Sleep(time.Minute) }, context.DeadlineExceeded},
		{"time, asked", true, func(_, _ func()) { time.Sleep(time.Minute) }, context.DeadlineExceeded},
		{"the parent", false, func(parent, _ func()) { parent() }, context.Canceled},
		{"the parent, asked", true, func(parent, _ func()) { parent() }, context.Canceled},
		{"release", false, func(_, release func()) { release() }, context.Canceled},
		{"release, asked", true, func(_, release func()) { release() }, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), dueKey{}, "v"))
				defer cancel()
				ctx, release := Due(parent, time.Now().Add(time.Minute))
				defer release()
				if c.ask {
					ctx.Done()
				}
				c.happen(cancel, release)
				synctest.Wait()
				if err := ctx.Err(); !errors.Is(err, c.want) {
					t.Errorf("Err() = %v, want %v", err, c.want)
				}
				select {
				case <-ctx.Done():
					if c.want == nil {
						t.Error("it is done")
					}
				default:
					if c.want != nil {
						t.Error("it is not done")
					}
				}
				if err := ctx.Err(); !errors.Is(err, c.want) {
					t.Errorf("afterwards Err() = %v, want %v", err, c.want)
				}
				if ctx.Value(dueKey{}) != "v" {
					t.Error("the parent's value is lost")
				}
			})
		})
	}
}

func TestWhatIsMadeOfADueContextEndsWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, release := Due(t.Context(), began.Add(time.Minute))
		defer release()
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		<-child.Done()
		if !errors.Is(child.Err(), context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", child.Err(), time.Since(began))
		}
	})
}

func TestADueContextKeepsAnEarlierDeadline(t *testing.T) {
	t.Parallel()
	early := time.Now().Add(time.Minute)
	parent, cancel := context.WithDeadline(t.Context(), early)
	defer cancel()
	ctx, release := Due(parent, early.Add(time.Minute))
	defer release()
	if at, ok := ctx.Deadline(); !ok || !at.Equal(early) {
		t.Errorf("Deadline() = %v, %v", at, ok)
	}
}
