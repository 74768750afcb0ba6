package poolotel

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

const (
	attrMethod   = attribute.Key("mcp.method.name")
	attrProtocol = attribute.Key("mcp.protocol.version")
)

// MCPHooks report the pool of MCP sessions of this name: what Hooks does, and calls.
// Join them with others by mcpool.JoinHooks.
func (t *Telemetry) MCPHooks(name string) mcpool.Hooks {
	c := &calls{telemetry: t, pool: name, tools: make(map[string]bool), records: make(map[callKind][]metric.RecordOption)}
	h := mcpool.Hooks{
		Core: t.hooks(name, true),
		Carry: func(ctx context.Context, set func(name, value string)) {
			t.cfg.Propagator.Inject(ctx, setter(set))
		},
	}
	if !t.cfg.NoMetrics {
		h = mcpool.JoinHooks(h, mcpool.Hooks{CallEnd: c.record})
	}
	if !t.cfg.NoSpans {
		h = mcpool.JoinHooks(h, mcpool.Hooks{CallStart: c.start, CallEnd: c.end})
	}
	return h
}

// calls are those of one pool.
type calls struct {
	// Immutable after creation.
	telemetry *Telemetry
	pool      string

	mu      sync.RWMutex
	tools   map[string]bool                    // guarded by mu; names that are shown
	records map[callKind][]metric.RecordOption // guarded by mu
}

// callKind is what a call has for attributes of its duration. There is a limited
// number of them.
type callKind struct{ method, tool, transport, protocol, err string }

func (k callKind) attributes(pool string) []attribute.KeyValue {
	attrs := append(make([]attribute.KeyValue, 0, 8), attrPool.String(pool), attrMethod.String(k.method))
	switch k.transport {
	case "http", "sse":
		attrs = append(attrs, semconv.NetworkTransportTCP)
	case "stdio":
		attrs = append(attrs, semconv.NetworkTransportPipe)
	}
	if k.protocol != "" {
		attrs = append(attrs, attrProtocol.String(k.protocol))
	}
	if k.tool != "" {
		attrs = append(attrs, semconv.GenAIToolName(k.tool), semconv.GenAIOperationNameExecuteTool)
	}
	if k.err != "" {
		attrs = append(attrs, attrErrorType.String(k.err))
	}
	return attrs
}

func (c *calls) kind(e mcpool.CallStart) callKind {
	return callKind{method: e.Method, tool: c.tool(e), transport: e.Transport, protocol: e.Protocol}
}

func outcome(e mcpool.CallEnd) string {
	switch {
	case e.Err != nil:
		return errorType(e.Err)
	case e.ToolFailed:
		return errorTool
	}
	return ""
}

func (c *calls) start(ctx context.Context, e mcpool.CallStart) context.Context {
	k := c.kind(e)
	name := e.Method
	switch {
	case k.tool != "":
		name += " " + k.tool
	case name == "tools/list":
		name = spanTools
	}
	attrs := k.attributes(c.pool)
	if c.telemetry.allows(AttrIdentity) {
		attrs = append(attrs, attrIdentity.String(e.Identity))
	}
	return c.telemetry.start(ctx, keyCall, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
}

func (c *calls) end(ctx context.Context, e mcpool.CallEnd) {
	if e.ToolFailed && e.Err == nil {
		if own, ok := ctx.Value(keyCall).(*spanContext); ok {
			c.telemetry.fail(own.span, errorTool, nil)
		}
	}
	c.telemetry.end(ctx, keyCall, e.Err, attrAttempts.Int(e.Attempts))
}

// record is called after the span has ended, with a context that has it.
func (c *calls) record(ctx context.Context, e mcpool.CallEnd) {
	k := c.kind(e.CallStart)
	k.err = outcome(e)
	c.mu.RLock()
	opts := c.records[k]
	c.mu.RUnlock()
	if opts == nil {
		opts = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(k.attributes(c.pool)...))}
		c.mu.Lock()
		c.records[k] = opts
		c.mu.Unlock()
	}
	c.telemetry.inst.call.Record(ctx, e.Duration.Seconds(), opts...)
}

// tool is the name of a tool as it is shown: those that servers list, and not
// without end either.
func (c *calls) tool(e mcpool.CallStart) string {
	if e.Tool == "" {
		return ""
	}
	if !e.Listed {
		return otherTool
	}
	c.mu.RLock()
	known := c.tools[e.Tool]
	c.mu.RUnlock()
	if known {
		return e.Tool
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.tools[e.Tool] && len(c.tools) >= c.telemetry.cfg.MaxTools {
		return otherTool
	}
	c.tools[e.Tool] = true
	return e.Tool
}

// setter is a carrier that is written to and never read.
type setter func(name, value string)

// Get returns nothing.
func (setter) Get(string) string { return "" }

// Set sets a value.
func (s setter) Set(name, value string) { s(name, value) }

// Keys returns nothing.
func (setter) Keys() []string { return nil }
