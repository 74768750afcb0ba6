package poolotel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// fire has one of everything happen to a pool.
func fire(ctx context.Context, h mcpool.Hooks) {
	failed := errors.New("password is hunter2")
	h.Core.AcquireEnd(h.Core.AcquireStart(ctx, core.AcquireStart{}), core.AcquireEnd{ID: 7})
	h.Core.OpenEnd(h.Core.OpenStart(ctx, core.OpenStart{}), core.OpenEnd{ID: 7, Attempt: 1})
	h.Core.CloseEnd(h.Core.CloseStart(ctx, core.CloseStart{}), core.CloseEnd{ID: 7})
	h.CallEnd(h.CallStart(ctx, mcpool.CallStart{Method: "ping", Identity: "hush4711"}), mcpool.CallEnd{Err: failed})
}

func TestWhatIsNobodysBusinessIsReportedOnlyWhereItIsAllowed(t *testing.T) {
	t.Parallel()
	values := map[string]string{AttrResourceID: "7", AttrIdentity: "hush4711", AttrErrorMessage: "password is hunter2"}
	for allowed := range values {
		b := setup(t, Config{Allow: []string{allowed}})
		fire(t.Context(), b.MCPHooks("m"))
		for _, name := range []string{"pool.borrow", "session.create", "session.close", "ping"} {
			s := b.span(name)
			if s == nil {
				t.Fatalf("no span %s", name)
			}
			for key, value := range values {
				want := ""
				if key == allowed && (name == "ping") != (key == AttrResourceID) {
					want = value
				}
				if got := attr(s, key); got != want {
					t.Errorf("with %s allowed, %s of %s is %q, want %q", allowed, key, name, got, want)
				}
			}
		}
		if allowed == AttrErrorMessage {
			continue
		}
		for _, m := range b.metrics(t) {
			if text := fmt.Sprint(m); strings.Contains(text, "hush4711") || strings.Contains(text, "hunter2") {
				t.Errorf("%s tells %s", m.Name, text)
			}
		}
	}
}

func TestSpansHaveTheirKind(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	fire(t.Context(), b.MCPHooks("m"))
	for name, want := range map[string]trace.SpanKind{
		"pool.borrow": trace.SpanKindInternal, "session.create": trace.SpanKindClient, "session.close": trace.SpanKindClient, "ping": trace.SpanKindClient,
	} {
		if s := b.span(name); s == nil || s.SpanKind() != want {
			t.Errorf("%s: %v, want kind %v", name, s, want)
		}
	}
	if s := b.span("pool.return"); s != nil {
		t.Error("pool.return without ReturnSpans")
	}
}

func TestWithoutSpansTheCallersTraceGoesOnAllTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{NoSpans: true})
	ctx, caller := b.tracer.Start(t.Context(), "caller")
	defer caller.End()
	sent := make(map[string]string)
	b.MCPHooks("m").Carry(ctx, func(name, value string) { sent[name] = value })
	if !strings.Contains(sent["traceparent"], caller.SpanContext().TraceID().String()) {
		t.Errorf("carried is %v", sent)
	}
}

func TestLabelsHaveALimitedNumberOfValues(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{MaxTools: 2})
	h := b.MCPHooks("m")
	for i := range 100 {
		h.CallEnd(t.Context(), mcpool.CallEnd{CallStart: mcpool.CallStart{Method: "tools/call", Tool: fmt.Sprint("t", i), Listed: true}})
		h.CallEnd(t.Context(), mcpool.CallEnd{
			CallStart: mcpool.CallStart{Method: "ping"}, Err: &jsonrpc.Error{Code: int64(-5000 - i), Message: "made up"},
		})
	}
	data, ok := b.metrics(t)["mcp.client.operation.duration"].Data.(metricdata.Histogram[float64])
	if !ok || len(data.DataPoints) != 4 {
		t.Errorf("%d series, want two tools, _other and one for codes that nobody knows", len(data.DataPoints))
	}
}

func TestAfterCloseNoStatisticsAreRead(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	if err := b.Add("m", stats{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.metrics(t)["mcpool.resource.count"]; ok {
		t.Error("the pool is read after Close")
	}
}

// A caller that is not interested any more is no timeout.
func TestOnlyWhoGaveUpWaitingIsATimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{NoSpans: true})
	h := b.Hooks("m")
	for _, err := range []error{&core.ExhaustedError{}, &core.ExhaustedError{Cause: context.Canceled}, errors.New("closed")} {
		h.AcquireEnd(t.Context(), core.AcquireEnd{Err: err})
	}
	sum, ok := b.metrics(t)["mcpool.resource.timeouts"].Data.(metricdata.Sum[int64])
	if !ok || len(sum.DataPoints) != 1 || sum.DataPoints[0].Value != 1 {
		t.Errorf("timeouts: %+v", sum)
	}
}
