package poolotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mcpool/mcpool/core"
)

// Hooks report the pool of this name. Join them with others by core.JoinHooks.
func (t *Telemetry) Hooks(name string) core.Hooks { return t.hooks(name, false) }

func (t *Telemetry) hooks(name string, sessions bool) core.Hooks {
	h := core.Hooks{}
	if !t.cfg.NoMetrics {
		h = core.JoinHooks(h, t.metricHooks(name, sessions))
	}
	if !t.cfg.NoSpans {
		h = core.JoinHooks(h, t.spanHooks(name))
	}
	return h
}

// metricHooks record times. What a record needs is made beforehand. They come
// before the hooks of spans, whose end hooks are called first then: a record is
// made with a context that has the span, which is what exemplars refer to.
func (t *Telemetry) metricHooks(name string, sessions bool) core.Hooks {
	i := &t.inst
	pool := attrPool.String(name)
	record := func(more ...attribute.KeyValue) []metric.RecordOption {
		return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(append(more, pool)...))}
	}
	good := record()
	bad := make(map[string][]metric.RecordOption)
	for _, kind := range errorTypes() {
		bad[kind] = record(attrErrorType.String(kind))
	}
	options := func(err error) []metric.RecordOption {
		if err == nil {
			return good
		}
		if o := bad[errorType(err)]; o != nil {
			return o
		}
		return bad[errorOther]
	}
	count := []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(pool))}
	h := core.Hooks{
		AcquireEnd: func(ctx context.Context, e core.AcquireEnd) {
			switch {
			case e.Err == nil:
				i.wait.Record(ctx, e.Wait.Seconds(), good...)
				if i.seedWait != nil {
					i.seedWait.Record(ctx, e.Wait.Seconds(), good...)
				}
			case errors.Is(e.Err, core.ErrExhausted) && !errors.Is(e.Err, context.Canceled):
				i.timeouts.Add(ctx, 1, count...)
			}
		},
		Released: func(e core.Released) { i.use.Record(context.Background(), e.Held.Seconds(), good...) },
		OpenEnd: func(ctx context.Context, e core.OpenEnd) {
			i.opened.Record(ctx, e.Duration.Seconds(), options(e.Err)...)
		},
	}
	if sessions {
		h.CloseEnd = func(ctx context.Context, e core.CloseEnd) {
			i.session.Record(ctx, e.Age.Seconds(), options(e.Cause)...)
		}
	}
	return h
}

// spanKey finds the span of a hook. A span that is looked up as the current one
// could be the caller's, if the context of our own start hook was lost, and is not
// ours to end.
type spanKey uint8

const (
	keyBorrow spanKey = iota
	keyCreate
	keyClose
	keyCall
)

// spanContext is a context with a span of ours.
type spanContext struct {
	context.Context

	key  spanKey
	span trace.Span
}

func (c *spanContext) Value(key any) any {
	if k, ok := key.(spanKey); ok && k == c.key {
		return c
	}
	return c.Context.Value(key)
}

func (t *Telemetry) start(ctx context.Context, key spanKey, name string, opts ...trace.SpanStartOption) context.Context {
	ctx, span := t.tracer.Start(ctx, name, opts...) //nolint:spancheck // end ends it: every start hook has an end hook
	return &spanContext{ctx, key, span}             //nolint:spancheck // likewise
}

// end ends the span that start began, if it is found, with what is known by now.
func (t *Telemetry) end(ctx context.Context, key spanKey, err error, attrs ...attribute.KeyValue) {
	c, ok := ctx.Value(key).(*spanContext)
	if !ok {
		return
	}
	if c.span.IsRecording() {
		if len(attrs) > 0 {
			c.span.SetAttributes(attrs...)
		}
		if err != nil {
			t.fail(c.span, errorType(err), err)
		}
	}
	c.span.End()
}

// spanHooks make spans.
func (t *Telemetry) spanHooks(name string) core.Hooks {
	pool := trace.WithAttributes(attrPool.String(name))
	borrow := []trace.SpanStartOption{pool, trace.WithSpanKind(trace.SpanKindInternal)}
	client := []trace.SpanStartOption{pool, trace.WithSpanKind(trace.SpanKindClient)}
	showID := t.allows(AttrResourceID)
	ids := func(id uint64, more ...attribute.KeyValue) []attribute.KeyValue {
		if showID && id != 0 {
			more = append(more, attrID.Int64(int64(id))) //nolint:gosec // counted up from 1
		}
		return more
	}
	h := core.Hooks{
		AcquireStart: func(ctx context.Context, _ core.AcquireStart) context.Context {
			return t.start(ctx, keyBorrow, spanBorrow, borrow...)
		},
		AcquireEnd: func(ctx context.Context, e core.AcquireEnd) { t.end(ctx, keyBorrow, e.Err, ids(e.ID)...) },
		OpenStart: func(ctx context.Context, _ core.OpenStart) context.Context {
			return t.start(ctx, keyCreate, spanCreate, client...)
		},
		OpenEnd: func(ctx context.Context, e core.OpenEnd) {
			t.end(ctx, keyCreate, e.Err, ids(e.ID, attrAttempt.Int(e.Attempt))...)
		},
		CloseStart: func(ctx context.Context, _ core.CloseStart) context.Context {
			return t.start(ctx, keyClose, spanClose, client...)
		},
		CloseEnd: func(ctx context.Context, e core.CloseEnd) {
			t.end(ctx, keyClose, e.Err, ids(e.ID, attrReason.String(e.Reason.String()))...)
		},
	}
	if t.cfg.ReturnSpans {
		h.Released = func(e core.Released) {
			now := time.Now()
			_, span := t.tracer.Start(context.Background(), spanReturn, pool, trace.WithTimestamp(now))
			span.SetAttributes(ids(e.ID)...)
			span.End(trace.WithTimestamp(now))
		}
	}
	return h
}
