package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/examples/internal/authserver"
)

const (
	machineID     = "nightly-report"
	machineSecret = "only on loopback, only for this example"
)

// servers are an authorization server, and an MCP server that trusts it.
type servers struct {
	issuer   *authserver.Server
	endpoint string
	http     *http.Server
	served   chan error
}

func startServers(ctx context.Context, lifetime time.Duration) (*servers, error) {
	as, err := authserver.Start(ctx, authserver.Config{
		AccessLifetime: lifetime, Clients: []authserver.Client{{ID: machineID, Secret: machineSecret}},
	})
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, as.Close())
	}
	s := &servers{issuer: as, endpoint: "http://" + l.Addr().String() + "/mcp", served: make(chan error, 1)}
	tools := mcp.NewServer(&mcp.Implementation{Name: "oauth-example", Version: "1"}, nil)
	mcp.AddTool(tools, &mcp.Tool{Name: "whoami", Description: "says who calls", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: r.Extra.TokenInfo.UserID}}}, nil, nil
		})
	guarded, err := as.Guard(s.endpoint, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, nil), "mcp:read")
	if err != nil {
		return nil, errors.Join(err, l.Close(), as.Close())
	}
	s.http = &http.Server{Handler: guarded, ReadHeaderTimeout: 10 * time.Second}
	go func() { s.served <- s.http.Serve(l) }()
	return s, nil
}

func (s *servers) close() {
	_ = s.http.Close()   // nobody is there any more
	_ = s.issuer.Close() // likewise
	<-s.served           //nolint:errcheck // it was closed
}
