package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// guard runs f and makes a panic in it an error. The error leaves out the value,
// which may hold a secret, unless it is one of the runtime's own.
func guard(method string, f func() error) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		what := fmt.Sprintf("with a %T", v)
		if r, ok := v.(runtime.Error); ok {
			what = ": " + r.Error()
		}
		slog.Error("panic in "+method+" "+what, "stack", string(debug.Stack()))
		err = fmt.Errorf("%w in %s %s", wire.ErrPanic, method, what)
	}()
	return f()
}

// unary stands before every unary call.
func unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	err = guard(info.FullMethod, func() error {
		resp, err = next(withTrace(ctx), req)
		return err
	})
	if err != nil {
		return nil, wire.Status(err)
	}
	return resp, nil
}

// streaming stands before every stream of ours. Each goroutine that a stream starts
// guards itself.
func streaming(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	err := guard(info.FullMethod, func() error { return next(srv, stream) })
	if err != nil {
		return wire.Status(err)
	}
	return nil
}

type traceKey struct{}

// Traceparent returns the W3C trace context of the host's call, empty where there is
// none. An author who traces makes a span below it.
func Traceparent(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}

func withTrace(ctx context.Context) context.Context {
	if v := metadata.ValueFromIncomingContext(ctx, wire.TraceparentKey); len(v) == 1 {
		return withTraceparent(ctx, v[0])
	}
	return ctx
}

func withTraceparent(ctx context.Context, value string) context.Context {
	if value == "" {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, value)
}
