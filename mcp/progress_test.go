package mcpool

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The tool does not answer before its caller was told of progress, so the
// notification cannot be overtaken by the answer.
func TestProgressIsToldWhileTheCallRuns(t *testing.T) {
	t.Parallel()
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			told := make(chan string, 1)
			m := mcp.NewServer(&mcp.Implementation{Name: "progress", Version: "1"}, nil)
			mcp.AddTool(m, &mcp.Tool{Name: "work"}, func(ctx context.Context, r *mcp.CallToolRequest, _ textArgs) (*mcp.CallToolResult, any, error) {
				err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1, Message: "half"})
				if err != nil {
					return nil, nil, err
				}
				select {
				case message := <-told:
					return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: message}}}, nil, nil
				case <-ctx.Done():
					return nil, nil, ctx.Err()
				}
			})
			cfg := Config{ProtocolVersion: w.version, Min: 1, Max: 1, Transport: InMemory(m)}
			if w.http {
				srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m },
					&mcp.StreamableHTTPOptions{Stateless: isModern(w.version)}))
				t.Cleanup(srv.Close)
				cfg.Endpoint, cfg.Transport = srv.URL, nil
			}
			p := openPool(t, cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			res, err := p.Call(ctx, "work", nil, WithProgress(func(_ context.Context, n *mcp.ProgressNotificationParams) { told <- n.Message }))
			if got := text(t, res, err); got != "half" {
				t.Errorf("told of %q", got)
			}
		})
	}
}
