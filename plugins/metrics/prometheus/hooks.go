package poolprom

import (
	"context"
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// The histograms, by name without prefix.
const (
	nameWait = "borrow_wait_duration_seconds"
	nameHold = "hold_duration_seconds"
	nameOpen = "open_duration_seconds"
	nameCall = "call_duration_seconds"
)

// otherTool stands for tools that are not in the server's list.
const otherTool = "_other"

func (c *Collector) withHistograms() *Collector {
	all := Histograms()
	c.wait, c.hold, c.open, c.call = c.histogram(all[0]), c.histogram(all[1]), c.histogram(all[2]), c.histogram(all[3])
	return c
}

func (c *Collector) histograms() []*prometheus.HistogramVec {
	return []*prometheus.HistogramVec{c.wait, c.hold, c.open, c.call}
}

func (c *Collector) histogram(h Histogram) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: c.cfg.Prefix + h.Name, Help: h.Help, ConstLabels: c.cfg.ConstLabels, Buckets: c.cfg.Buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		NativeHistogramZeroThreshold: 1e-9, // a lease that came at once waited 0
	}, append([]string{labelPool}, h.Labels...))
}

// Hooks observe the times of the pool of this name. Join them with others by
// core.JoinHooks.
func (c *Collector) Hooks(name string) core.Hooks {
	// Found once, so that an observation looks nothing up.
	got, exhausted, failed := c.wait.WithLabelValues(name, "ok"), c.wait.WithLabelValues(name, "gave_up"), c.wait.WithLabelValues(name, "error")
	held := c.hold.WithLabelValues(name)
	opened, unopened := c.open.WithLabelValues(name, "ok"), c.open.WithLabelValues(name, "error")
	return core.Hooks{
		AcquireEnd: func(_ context.Context, e core.AcquireEnd) {
			switch {
			case e.Err == nil:
				got.Observe(e.Wait.Seconds())
			case errors.Is(e.Err, core.ErrExhausted) || errors.Is(e.Err, context.Canceled):
				exhausted.Observe(e.Wait.Seconds())
			default:
				failed.Observe(e.Wait.Seconds())
			}
		},
		Released: func(e core.Released) { held.Observe(e.Held.Seconds()) },
		OpenEnd: func(_ context.Context, e core.OpenEnd) {
			if e.Err != nil {
				unopened.Observe(e.Duration.Seconds())
			} else {
				opened.Observe(e.Duration.Seconds())
			}
		},
	}
}

// MCPHooks observe the times of the pool of MCP sessions of this name: those of
// Hooks, and of calls.
func (c *Collector) MCPHooks(name string) mcpool.Hooks {
	tools := &toolNames{room: c.cfg.MaxTools, known: make(map[string]bool)}
	return mcpool.Hooks{
		Core: c.Hooks(name),
		CallEnd: func(_ context.Context, e mcpool.CallEnd) {
			outcome := "ok"
			switch {
			case e.Err != nil:
				outcome = "error"
			case e.ToolFailed:
				outcome = "tool_error"
			}
			c.call.WithLabelValues(name, e.Method, tools.label(e.CallStart), outcome).Observe(e.Duration.Seconds())
		},
	}
}

// toolNames bounds the names of tools that are shown: those that servers list, and
// not without end either.
type toolNames struct {
	mu    sync.RWMutex
	room  int             // guarded by mu
	known map[string]bool // guarded by mu
}

func (t *toolNames) label(e mcpool.CallStart) string {
	if e.Tool == "" || !e.Listed {
		if e.Tool != "" {
			return otherTool
		}
		return ""
	}
	t.mu.RLock()
	known := t.known[e.Tool]
	t.mu.RUnlock()
	if known {
		return e.Tool
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[e.Tool] {
		return e.Tool
	}
	if t.room <= 0 {
		return otherTool
	}
	t.room--
	t.known[e.Tool] = true
	return e.Tool
}

// Histogram describes a histogram of this package.
type Histogram struct {
	Name, Help string // the name is without prefix
	Labels     []string
}

// Histograms returns all of them.
func Histograms() []Histogram {
	return []Histogram{
		{nameWait, "Time that callers waited for a lease, or until they gave up.", []string{labelError}},
		{nameHold, "Time that leases were held.", nil},
		{nameOpen, "Time that attempts to open a resource took.", []string{labelError}},
		{nameCall, "Time that calls took, all attempts together.", []string{labelMethod, labelTool, labelError}},
	}
}
