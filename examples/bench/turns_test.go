package main

import (
	"errors"
	"runtime/debug"
	"testing"
	"time"
)

func TestTurnsFindASmallDifference(t *testing.T) {
	t.Parallel()
	ops := make([]int, 2)
	closed := 0
	c := benchCase{turns: true, goroutines: 1}
	for i, takes := range []int{100, 10000} {
		c.impls = append(c.impls, impl{open: func() (*fixture, error) {
			fx := fixtureOf(func(n int) error { ops[i] += n; spin(n * takes); return nil })
			fx.close = func() error { closed++; return nil }
			return fx, nil
		}})
	}
	samples, err := c.measureTurns(1, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if len(samples[0].turns) == 0 || len(samples[0].turns) != len(samples[1].turns) {
		t.Errorf("%d and %d turns", len(samples[0].turns), len(samples[1].turns))
	}
	if len(samples) != 2 || samples[0].ns <= 0 || samples[1].ns <= samples[0].ns {
		t.Errorf("a hundred times the work: %+v", samples)
	}
	if ops[0] < countedOps || ops[1] < countedOps || closed != 2 {
		t.Errorf("%v operations, %d closed", ops, closed)
	}
}

// The setting is the process's, so no other test runs beside this one.
func TestNoGarbageIsCollectedInTurnsThatAreToBeQuiet(t *testing.T) { //nolint:paralleltest // see above
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	quiet := 0
	fx := fixtureOf(func(n int) error {
		if was := debug.SetGCPercent(-1); was < 0 {
			quiet++
		} else { // the warm-up
			debug.SetGCPercent(was)
		}
		spin(n * 1000)
		return nil
	})
	c := benchCase{turns: true, quiet: true, goroutines: 1, impls: []impl{open(fx)}}
	samples, err := c.measureTurns(0, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if turns := len(samples[0].turns); turns == 0 || quiet < turns {
		t.Errorf("%d of %d turns were quiet", quiet, turns)
	}
	if now := debug.SetGCPercent(100); now != 100 {
		t.Errorf("the collector is left at %d %%", now)
	}
}

func TestTurnsFailWithAnOperation(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	closed := false
	fx := fixtureOf(func(int) error { return boom })
	fx.close = func() error { closed = true; return nil }
	c := benchCase{turns: true, impls: []impl{open(fx)}}
	if _, err := c.measureTurns(0, time.Millisecond); !errors.Is(err, boom) || !closed {
		t.Errorf("error = %v, closed %t, want boom and true", err, closed)
	}
}

func TestMostWithinFindsTheDensestStretch(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for want, at := range [][]time.Duration{nil, {ms}, {ms, 20 * ms, 11 * ms}, {50 * ms, 40 * ms, 45 * ms, ms}} {
		if got := mostWithin(at, 10*ms); got != want {
			t.Errorf("%v: %d, want %d", at, got, want)
		}
	}
}
