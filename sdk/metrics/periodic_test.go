package metrics

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("down")

// recorder is a sink that answers as it is told.
type recorder struct {
	mu     sync.Mutex
	got    []float64 // of each attempt, in order
	answer func(ctx context.Context, attempt int) (Result, error)
	closed int
}

func (r *recorder) Export(ctx context.Context, b Batch) (Result, error) {
	r.mu.Lock()
	r.got = append(r.got, b.Scopes[0].Metrics[0].Numbers[0].Value)
	n, answer := len(r.got), r.answer
	r.mu.Unlock()
	if answer == nil {
		return Result{}, nil
	}
	return answer(ctx, n)
}

func (r *recorder) Close(context.Context) error {
	r.closed++
	return nil
}

func (r *recorder) seen(t *testing.T, want ...float64) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.got, want) {
		t.Errorf("exported %v, want %v", r.got, want)
	}
}

// start collects batches that are numbered from 1.
func start(t *testing.T, r *recorder, change func(*Config)) *Periodic {
	t.Helper()
	n := 0.0
	cfg := Config{Sink: r, Interval: time.Minute, Collect: func(now time.Time) Batch {
		n++
		return Batch{Scopes: []Scope{{Metrics: []Metric{{Numbers: []Number{{Time: now, Value: n}}}}}}}
	}}
	if change != nil {
		change(&cfg)
	}
	p, err := NewPeriodic(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func counts(t *testing.T, p *Periodic, want Counts) {
	t.Helper()
	if got := p.Counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestBatchesAreExportedInOrderAndCloseFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		p := start(t, r, nil)
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		r.seen(t, 1, 2)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		r.seen(t, 1, 2, 3)
		counts(t, p, Counts{Collected: 3, Exported: 3})
		if err := p.Close(t.Context()); !errors.Is(err, ErrClosed) || r.closed != 1 {
			t.Errorf("closed again: %v, the sink %d times", err, r.closed)
		}
	})
}

func TestAFailedExportIsRepeatedWithLongerAndLongerPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		r := &recorder{answer: func(_ context.Context, n int) (Result, error) {
			at = append(at, time.Since(began))
			if n <= 4 {
				return Result{}, errDown
			}
			return Result{Rejected: 2}, nil
		}}
		p := start(t, r, func(c *Config) { c.Interval, c.RetryMin, c.RetryMax = time.Hour, 4*time.Second, 8*time.Second })
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if err := p.Err(); !errors.Is(err, errDown) {
			t.Errorf("Err is %v", err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		r.seen(t, 1, 1, 1, 1, 1)
		for i, want := range []time.Duration{4, 8, 8, 8} {
			if d := at[i+1] - at[i]; d > want*time.Second || d < want*time.Second*3/4 {
				t.Errorf("pause %d is %v, want up to a quarter less than %v s", i+1, d, int(want))
			}
		}
		counts(t, p, Counts{Collected: 1, Exported: 1, Retries: 4, Rejected: 2})
		if err := p.Err(); err != nil {
			t.Errorf("Err is %v after success", err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTheSinkIsLeftAloneAsLongAsItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		r := &recorder{answer: func(_ context.Context, n int) (Result, error) {
			if at = append(at, time.Now()); n == 1 {
				return Result{}, &RetryError{After: 20 * time.Second, Err: errDown}
			}
			return Result{}, nil
		}}
		p := start(t, r, nil)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if len(at) != 2 || at[1].Sub(at[0]) != 20*time.Second {
			t.Errorf("attempts at %v, want 20 s between them", at)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAFullQueueDropsTheOldestAndCountsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		r := &recorder{}
		r.answer = func(context.Context, int) (Result, error) {
			if up.Load() {
				return Result{}, nil
			}
			return Result{}, &RetryError{After: 10*time.Minute + 15*time.Second, Err: errDown}
		}
		p := start(t, r, func(c *Config) { c.Queue, c.RetryMax = 3, 2*time.Minute })
		time.Sleep(10*time.Minute + 30*time.Second) // 1 is being tried, of 2 to 10 the last three wait
		synctest.Wait()
		counts(t, p, Counts{Collected: 10, Dropped: 6})
		up.Store(true)
		time.Sleep(time.Minute) // the pause is over; 1 has lost its place
		synctest.Wait()
		r.seen(t, 1, 9, 10, 11)
		counts(t, p, Counts{Collected: 11, Exported: 3, Dropped: 8})
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAPermanentErrorIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{answer: func(_ context.Context, n int) (Result, error) {
			if n == 1 {
				return Result{}, Permanent(errDown)
			}
			return Result{}, nil
		}}
		p := start(t, r, nil)
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		r.seen(t, 1, 2)
		counts(t, p, Counts{Collected: 2, Exported: 1, Dropped: 1})
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestExportsHaveADeadlineAndPanicsAreFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{answer: func(ctx context.Context, n int) (Result, error) {
			switch n {
			case 1:
				<-ctx.Done()
				return Result{}, ctx.Err()
			case 2:
				panic("no")
			}
			return Result{}, nil
		}}
		p := start(t, r, func(c *Config) { c.Timeout = 3 * time.Second })
		time.Sleep(time.Minute + 20*time.Second)
		synctest.Wait()
		r.seen(t, 1, 1, 1)
		counts(t, p, Counts{Collected: 1, Exported: 1, Retries: 2, Panics: 1})
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestACollectThatPanicsYieldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		p := start(t, r, func(c *Config) { c.Collect = func(time.Time) Batch { panic("no") } })
		time.Sleep(time.Minute + time.Second)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		r.seen(t)
		counts(t, p, Counts{Panics: 2})
	})
}

func TestCloseEndsWithItsContextAndSaysWhatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{answer: func(context.Context, int) (Result, error) { return Result{}, errDown }}
		p := start(t, r, nil)
		time.Sleep(2*time.Minute + time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		err := p.Close(ctx)
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("Close took %v, want 5 s", d)
		}
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) || !strings.Contains(err.Error(), "3 batches") {
			t.Errorf("Close: %v", err)
		}
		if c := p.Counts(); c.Dropped != 3 || c.Exported != 0 || r.closed != 1 {
			t.Errorf("counts %+v, the sink closed %d times", c, r.closed)
		}
	})
}

func TestFaultsOfAConfigAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := NewPeriodic(Config{Interval: -1, Timeout: -1, Queue: -1, RetryMin: time.Hour, RetryMax: time.Minute})
	for _, field := range []string{"Collect", "Sink", "Interval", "Timeout", "Queue", "RetryMin"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("%s is not named in: %v", field, err)
		}
	}
}
