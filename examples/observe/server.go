package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// server is an MCP server on loopback that can be taken away and brought back at the
// same address. Its sessions are gone then.
type server struct {
	tracer trace.Tracer
	addr   string
	mcp    *mcp.Server
	http   *http.Server
	ended  chan struct{}
	busy   sync.WaitGroup // requests
}

func (s *server) start(ctx context.Context) error {
	addr := s.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	for tries := 0; err != nil && tries < 100 && ctx.Err() == nil; tries++ {
		// While it was free, the port may have become somebody's own end of a connection.
		pause(ctx, 100*time.Millisecond)
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	}
	if err != nil {
		return err
	}
	s.addr = l.Addr().String()
	tools := newTools()
	server, ended := &http.Server{
		Handler:           s.traced(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, nil)),
		ReadHeaderTimeout: 10 * time.Second,
	}, make(chan struct{})
	s.mcp, s.http, s.ended = tools, server, ended
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	return nil
}

func (s *server) stop() {
	_ = s.http.Close()
	<-s.ended
	s.busy.Wait()
	for session := range s.mcp.Sessions() {
		_ = session.Close()
	}
}

// traced goes on with the trace that a request brings, as any traced server does.
func (s *server) traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer s.busy.Done()
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		if trace.SpanContextFromContext(ctx).IsValid() {
			var span trace.Span
			ctx, span = s.tracer.Start(ctx, r.Method+" /mcp", trace.WithSpanKind(trace.SpanKindServer))
			defer span.End()
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

type textArgs struct {
	Text string `json:"text,omitempty" jsonschema:"what to say"`
}

func newTools() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "observe", Version: "1"}, nil)
	add := func(name, description string, f func(a textArgs) (string, error)) {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: description, Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
			func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
				text, err := f(a)
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, err
			})
	}
	add("echo", "says what it is told", func(a textArgs) (string, error) { return a.Text, nil })
	add("search", "takes 20 to 120 ms", func(a textArgs) (string, error) {
		time.Sleep(time.Duration(20+rand.IntN(100)) * time.Millisecond) //nolint:gosec // a pretence
		return a.Text, nil
	})
	add("unsteady", "fails one time in five", func(a textArgs) (string, error) {
		if rand.IntN(5) == 0 { //nolint:gosec // likewise
			return "", errors.New("this was the one time")
		}
		return fmt.Sprint(len(a.Text)), nil
	})
	return s
}
