package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// The load while roads are cut.
const (
	callers  = 16
	sessions = 4
	cutEvery = 200 * time.Millisecond
)

// travel takes every road in every era.
func travel(ctx context.Context, out show, o options, r *report) error {
	w, err := newWorld(ctx, nil)
	if err != nil {
		return err
	}
	defer w.close()
	out.printf("building a plugin binary, which takes a while the first time\n\n")
	roads, err := w.roads(ctx)
	if err != nil {
		return err
	}
	for _, version := range []string{versionOld, versionModern} {
		var want []string // what the first road brought
		for _, road := range roads {
			if road.missing != "" {
				if version == versionOld {
					r.Rows = append(r.Rows, &row{Road: road.name, About: road.about, Missing: road.missing})
					out.printf("%-10s not here: %s\n", road.name, road.missing)
				}
				continue
			}
			out.printf("%-10s %s, protocol %s\n", road.name, road.about, version)
			this := &row{Road: road.name, About: road.about, Protocol: version}
			r.Rows = append(r.Rows, this)
			got, err := this.take(ctx, road, o.each)
			if want == nil {
				want = got
			}
			if err == nil {
				err = differences(want, got)
				this.Same = err == nil
			}
			if err == nil {
				err = this.cut(ctx, road, o.each)
			}
			if err != nil {
				r.Problems = append(r.Problems, fmt.Sprintf("%s, %s: %v", road.name, version, err))
			}
		}
	}
	return nil
}

// take makes the same calls as everybody, and measures.
func (r *row) take(ctx context.Context, road road, each time.Duration) ([]string, error) {
	pool, err := mcpool.Open(ctx, road.config(r.Protocol))
	if err != nil {
		return nil, err
	}
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything was looked at before
	got, err := sameCalls(ctx, pool)
	if err != nil {
		return got, err
	}
	if spoken := pool.Stats().Protocol; spoken != r.Protocol {
		return got, fmt.Errorf("the session speaks %s", spoken)
	}
	var took []time.Duration
	for began := time.Now(); time.Since(began) < each; {
		before := time.Now()
		if err := echo(ctx, pool, "hi"); err != nil {
			return got, err
		}
		took = append(took, time.Since(before))
	}
	slices.Sort(took)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	r.Calls, r.P50, r.P99 = len(took), us(took[len(took)/2]), us(took[len(took)*99/100])
	return got, nil
}

// echo makes a call that may be repeated, and looks at the answer.
func echo(ctx context.Context, pool *mcpool.Pool, text string) error {
	res, err := pool.Call(ctx, "echo", map[string]any{"text": text})
	switch {
	case err != nil:
		return err
	case res.IsError || len(res.Content) != 1 || saidIn(res.Content[0]) != text:
		return fmt.Errorf("%.100q came back as %.100v", text, res.Content)
	}
	return nil
}

// cut has callers call while the road is cut again and again.
func (r *row) cut(ctx context.Context, road road, each time.Duration) error {
	cfg := road.config(r.Protocol)
	// What may have run is repeated if it does no harm, and callers wait for a
	// road that is being mended: cuts come faster here than anywhere else.
	cfg.Max, cfg.Replay, cfg.CircuitFailures = sessions, mcpool.ReplayReadOnly, mcpool.Off
	pool, err := mcpool.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close(context.WithoutCancel(ctx))   //nolint:errcheck // everything was looked at before
	if _, err := pool.ListTools(ctx); err != nil { // which tells what may be repeated
		return err
	}
	var (
		calls, failed atomic.Int64
		first         atomic.Pointer[error]
		wg            sync.WaitGroup
	)
	stop := make(chan struct{})
	for i := range callers {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := echo(ctx, pool, fmt.Sprintf("%d of %d", n, i)); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, &err)
				}
				calls.Add(1)
			}
		})
	}
	for began := time.Now(); time.Since(began) < each || r.Cut.Cuts == 0; {
		before := calls.Load()
		pause(ctx, cutEvery)
		for calls.Load() < before+callers && ctx.Err() == nil { // so that each cut hits calls that run
			pause(ctx, 5*time.Millisecond)
		}
		if ctx.Err() != nil {
			break
		}
		r.Cut.Cuts += road.cut()
	}
	close(stop)
	wg.Wait()
	st := pool.Stats()
	r.Cut.Calls, r.Cut.Failed, r.Cut.Replays, r.Cut.Opened = calls.Load(), failed.Load(), st.Replays, st.Sessions.Opened
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r.Cut.Failed > 0:
		return fmt.Errorf("%d of %d calls failed of %d cuts, the first with: %w", r.Cut.Failed, r.Cut.Calls, r.Cut.Cuts, *first.Load())
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
