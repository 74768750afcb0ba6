package debug

import (
	"context"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// Hooks tell the page what happens; join them with others by mcpool.JoinHooks.
// Without them the page has sizes and sessions, but neither events nor times.
func (p *Page) Hooks() mcpool.Hooks {
	return mcpool.Hooks{
		Core:    p.coreHooks(),
		CallEnd: func(_ context.Context, e mcpool.CallEnd) { p.records.call(e) },
	}
}

func (p *Page) coreHooks() core.Hooks {
	r := p.records
	return core.Hooks{
		AcquireEnd: func(_ context.Context, e core.AcquireEnd) {
			for wait := int64(e.Wait); ; {
				most := p.waitMax.Load()
				if wait <= most || p.waitMax.CompareAndSwap(most, wait) {
					return
				}
			}
		},
		OpenEnd: func(_ context.Context, e core.OpenEnd) {
			if e.Err != nil {
				r.change(Bad, "open failed", e.Pool, e.ID, e.Err)
			} else {
				r.change(Good, "session opened", e.Pool, e.ID, nil)
			}
		},
		CloseEnd: func(_ context.Context, e core.CloseEnd) {
			level, what := Info, "session closed: "+e.Reason.String()
			switch e.Reason { //nolint:exhaustive // the others are ordinary
			case core.ReasonBroken, core.ReasonProbe, core.ReasonReset, core.ReasonRevoked, core.ReasonDiscarded:
				level = Warn
			case core.ReasonEvicted:
				if e.Cause != nil { // the server has forgotten it
					level = Warn
				}
			}
			r.change(level, what, e.Pool, e.ID, e.Cause)
			if e.Err != nil {
				r.change(Warn, "close failed", e.Pool, e.ID, e.Err)
			}
		},
		ProbeEnd: func(_ context.Context, e core.ProbeEnd) {
			if e.Err != nil {
				r.change(Warn, "probe failed", e.Pool, e.ID, e.Err)
			}
		},
		CircuitOpened: func(e core.CircuitOpened) { r.change(Bad, "circuit opened", e.Pool, 0, e.Cause) },
		CircuitClosed: func(e core.CircuitClosed) { r.change(Good, "circuit closed", e.Pool, 0, nil) },
		Degraded:      func(e core.Degraded) { r.change(Bad, "degraded", e.Pool, 0, e.Cause) },
		Recovered:     func(e core.Recovered) { r.change(Good, "recovered", e.Pool, 0, nil) },
		Resized:       func(e core.Resized) { r.change(Info, "resized", e.Pool, 0, nil) },
		Leaked:        func(e core.Leaked) { r.change(Warn, "session held long", e.Pool, e.ID, nil) },
		Panicked:      func(e core.Panicked) { r.change(Bad, "callback panicked", e.Pool, 0, e.Err) },
	}
}
