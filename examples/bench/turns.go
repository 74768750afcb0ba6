package main

import (
	"errors"
	"runtime"
	"runtime/debug"
	"time"
)

// Where what is sought is a small difference between long operations, one
// measurement after the other says little: the machine changes meanwhile. There the
// implementations take turns of a millisecond, another one first each
// time. What one needs is the median of its turns, and what it needs more than
// another is the median of the differences between their turns of the same lap, which
// found the machine in the same state.
//
// A turn begins with some operations that are not timed, because the first ones pay
// for what the one before them has left in the processor's caches.
//
// Where an operation leaves so much garbage that the collector would run in every
// second turn, on whoever's turn it is, it runs between turns instead. What
// is allocated is a figure of its own.

const (
	turnTime   = time.Millisecond
	quietLaps  = 4   // laps between two collections, where there are none in turns
	settleOps  = 8   // of a turn, this part is done before it is timed
	countedOps = 200 // operations over which allocations are counted, apart from the turns
)

// measureTurns returns a sample for each implementation. It takes d for each.
func (c *benchCase) measureTurns(round int, d time.Duration) (samples []sample, err error) {
	ops := make([]func(n int) error, len(c.impls))
	for i, im := range c.impls {
		fx, err := im.open()
		if err != nil {
			return nil, err
		}
		if fx.close != nil {
			defer func() {
				if cerr := fx.close(); cerr != nil {
					samples, err = nil, errors.Join(err, cerr)
				}
			}()
		}
		ops[i] = fx.worker(0)
	}
	n := 1 // operations in a turn; the slowest decides, and all warm up
	for began := time.Now(); time.Since(began) < d/warmUpShare; {
		for _, op := range ops {
			start := time.Now()
			if err := op(n); err != nil {
				return nil, err
			}
			if time.Since(start) < turnTime/2 {
				n *= 2
			}
		}
	}
	runtime.GC()
	if c.quiet {
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
	}
	turns := make([][]float64, len(ops))
	for lap, began := round, time.Now(); time.Since(began) < d*time.Duration(len(ops)); lap++ {
		if c.quiet && lap%quietLaps == 0 {
			runtime.GC()
		}
		for i := range ops {
			who := (lap + i) % len(ops)
			if err := ops[who](1 + n/settleOps); err != nil {
				return nil, err
			}
			start := time.Now()
			if err := ops[who](n); err != nil {
				return nil, err
			}
			turns[who] = append(turns[who], float64(time.Since(start))/float64(n))
		}
	}
	samples = make([]sample, len(ops))
	for i, op := range ops {
		samples[i].ns, samples[i].turns = median(turns[i]), turns[i]
		if samples[i].allocs, samples[i].bytes, err = allocationsOf(op); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// allocationsOf returns what an operation allocates, objects and bytes.
func allocationsOf(op func(n int) error) (objects, bytes float64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := op(countedOps); err != nil {
		return 0, 0, err
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / countedOps, float64(after.TotalAlloc-before.TotalAlloc) / countedOps, nil
}
