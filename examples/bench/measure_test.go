package main

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var sink atomic.Pointer[[64]byte]

func fixtureOf(op func(n int) error) *fixture {
	return &fixture{worker: func(int) func(int) error { return op }}
}

func open(fx *fixture) impl {
	return impl{name: "x", open: func() (*fixture, error) { return fx, nil }}
}

// Not parallel: the counters of the runtime are those of the whole process.
func TestAllocationsAreThoseOfTheOperation(t *testing.T) {
	for _, tt := range []struct {
		name          string
		op            func(n int) error
		allocs, bytes float64
	}{
		{"none", func(n int) error { spin(n); return nil }, 0, 0},
		{"one of 64 bytes", func(n int) error {
			for range n {
				sink.Store(new([64]byte))
			}
			return nil
		}, 1, 64},
	} {
		for _, stepwise := range []bool{false, true} {
			c := benchCase{goroutines: 2, stepwise: stepwise}
			smp, err := c.measure(open(fixtureOf(tt.op)), 20*time.Millisecond)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if a, b := round2(smp.allocs), smp.bytes; a != tt.allocs || b < tt.bytes || b > tt.bytes+1 {
				t.Errorf("%s, stepwise %v: %v allocations of %v bytes, want %v of %v", tt.name, stepwise, a, b, tt.allocs, tt.bytes)
			}
			if smp.ns <= 0 {
				t.Errorf("%s: %v ns", tt.name, smp.ns)
			}
		}
	}
}

// spin is work that the compiler cannot take away.
//
//go:noinline
func spin(n int) {
	var x uint64
	for range n {
		x = x*6364136223846793005 + 1
	}
	runtime.KeepAlive(x)
}

func TestAShiftGoesOnUntilEveryoneHasTheQuota(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		quota   int
		stretch time.Duration
		starved bool
	}{
		{"enough time", 100, 10_000, false},
		{"a limit", 1 << 40, 3, true},
	} {
		cw := &crew{chunk: 1, stretch: tt.stretch, patience: patience, stacks: io.Discard}
		for g := range 3 {
			cw.workers = append(cw.workers, &worker{shifts: make(chan *shift, 1), op: func(int) error {
				if g == 0 {
					time.Sleep(50 * time.Microsecond) // 100 of these are more than the 1 ms below
				}
				runtime.Gosched()
				return nil
			}})
		}
		cw.start()
		smp, err := cw.work(time.Millisecond, tt.quota)
		cw.dismiss()
		if err != nil || smp.starved != tt.starved || smp.fairness <= 1 {
			t.Errorf("%s: starved %v, fairness %v, error %v; want starved %v, fairness above 1",
				tt.name, smp.starved, smp.fairness, err, tt.starved)
		}
	}
}

func TestFailuresFailTheMeasurement(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	failing := fixtureOf(func(int) error { return boom })
	closing := fixtureOf(func(int) error { return nil })
	closing.close = func() error { return boom }
	later := &fixture{worker: func(g int) func(int) error {
		return func(int) error {
			if g == 1 {
				return boom
			}
			runtime.Gosched()
			return nil
		}
	}}
	for name, im := range map[string]impl{
		"open":            {open: func() (*fixture, error) { return nil, boom }},
		"calibration":     open(failing),
		"other goroutine": open(later),
		"close":           open(closing),
	} {
		c := benchCase{goroutines: 2}
		if _, err := c.measure(im, time.Millisecond); !errors.Is(err, boom) {
			t.Errorf("%s: error = %v, want boom", name, err)
		}
	}
}

func TestStuckGoroutinesAreReported(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	var stacks bytes.Buffer
	cw := &crew{chunk: 1, patience: time.Millisecond, stacks: &stacks, workers: []*worker{{
		op:     func(int) error { <-release; return nil },
		shifts: make(chan *shift, 1),
	}}}
	cw.start()
	defer cw.dismiss()
	if _, err := cw.work(time.Millisecond, 0); !errors.Is(err, errStuck) || !strings.Contains(err.Error(), "1ms") {
		t.Errorf("error = %v, want errStuck", err)
	}
	if !strings.Contains(stacks.String(), "TestStuckGoroutinesAreReported") {
		t.Errorf("the stacks do not show who is stuck:\n%s", &stacks)
	}
}

func TestChunksAreLongEnough(t *testing.T) {
	t.Parallel()
	n, err := calibrate(func(n int) error { spin(n * 10); return nil })
	if err != nil || n < 64 {
		t.Errorf("calibrate = %d, %v: an operation of some ns needs many in a chunk", n, err)
	}
}
