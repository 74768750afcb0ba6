package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// logged is what the default logger writes during a test, which must not be parallel.
func logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	var buf bytes.Buffer
	before, out, flags := slog.Default(), log.Writer(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(out) // which SetDefault changes too
		log.SetFlags(flags)
	})
	slog.SetDefault(slog.New(slog.NewJSONHandler(&buf, nil)))
	return &buf
}

func TestAPanicFailsItsCallAndIsLoggedAndNeitherShowsItsValue(t *testing.T) {
	buf := logged(t)
	const method = "/mcpool.auth.v1.AuthService/Credentials"
	fails := func() error { panic("the secret is hush4711") }
	for name, call := range map[string]func() error{
		"a unary call": func() error {
			_, err := unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return nil, fails() })
			return err
		},
		"a stream": func() error {
			return streaming(nil, nil, &grpc.StreamServerInfo{FullMethod: method}, func(any, grpc.ServerStream) error { return fails() })
		},
	} {
		buf.Reset()
		err, ok := wire.FromStatus(call())
		if want := "the plugin panicked in " + method + " with a string"; !ok || !errors.Is(err, wire.ErrPanic) || err.Message != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		var rec struct{ Level, Msg, Stack string }
		if err := json.Unmarshal(buf.Bytes(), &rec); err != nil {
			t.Errorf("%s: logged %q, %v", name, buf, err)
		}
		if rec.Level != "ERROR" || rec.Msg != "panic in "+method+" with a string" || !strings.Contains(rec.Stack, "guard_test.go") ||
			strings.Contains(buf.String(), "hush4711") {
			t.Errorf("%s: logged %s", name, buf)
		}
	}
}

func TestATraceContextIsOneOrNone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		sent []string
		want string
	}{{nil, ""}, {[]string{"00-a"}, "00-a"}, {[]string{"00-a", "00-b"}, ""}} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{wire.TraceparentKey: test.sent})
		if got := Traceparent(withTrace(ctx)); got != test.want {
			t.Errorf("of %q it is %q", test.sent, got)
		}
	}
}
