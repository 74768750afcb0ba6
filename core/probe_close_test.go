package core

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A tracer opens a span in ProbeStart: it must be able to end it.
func TestAProbeCutShortByCloseStillEndsForItsHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began, ended atomic.Int32
		w := &workshop{}
		cfg := w.config(1)
		cfg.Min = 1
		cfg.ProbeInterval = time.Second
		cfg.Probe = func(ctx context.Context, _ *thing) error { <-ctx.Done(); return ctx.Err() }
		cfg.Hooks.ProbeStart = func(ctx context.Context, _ ProbeStart) context.Context { began.Add(1); return ctx }
		cfg.Hooks.ProbeEnd = func(context.Context, ProbeEnd) { ended.Add(1) }
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for began.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if b, e := began.Load(), ended.Load(); b != e {
			t.Errorf("%d probes began and %d ended", b, e)
		}
		if s := p.Stats(); s.ProbeFailures != 0 {
			t.Errorf("%d failed: the pool was closing", s.ProbeFailures)
		}
	})
}
