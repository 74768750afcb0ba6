package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// figures are what came of one measurement.
type figures struct {
	CallsPerS float64 `json:"calls_per_s"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Opened    uint64  `json:"sessions_opened"`
	calls     int
	failed    error
}

// measure has n callers call f again and again for as long as each.
func measure(ctx context.Context, n int, each time.Duration, f func(ctx context.Context) error) *figures {
	var (
		mu   sync.Mutex
		all  []time.Duration
		fail error
		wg   sync.WaitGroup
	)
	began := time.Now()
	for range n {
		wg.Go(func() {
			var took []time.Duration
			var failed error
			for time.Since(began) < each && failed == nil && ctx.Err() == nil {
				before := time.Now()
				if failed = f(ctx); failed == nil {
					took = append(took, time.Since(before))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if fail == nil {
				fail = failed
			}
		})
	}
	wg.Wait()
	total := time.Since(began)
	r := &figures{failed: fail, calls: len(all)}
	if len(all) == 0 {
		return r
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r.CallsPerS = float64(len(all)) / total.Seconds()
	r.P50, r.P99 = ms(all[len(all)/2]), ms(all[len(all)*99/100])
	return r
}
