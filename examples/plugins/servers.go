package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/examples/internal/authserver"
	"github.com/go-mcpool/mcpool/examples/internal/sigv4server"
)

const (
	region    = "eu-central-1"
	service   = "bedrock-agentcore"
	accessKey = "AKIDEXAMPLE"
	// The application, to the authorization server.
	machineID = "nightly-report"
	secret    = "only on loopback, only for this example"
	// lifetime of a token: the OAuth plugin is asked for one again and again.
	lifetime = 3 * time.Second
)

// servers are an MCP server that verifies signatures, and one that wants tokens of an
// authorization server.
type servers struct {
	signed   *sigv4server.Server
	issuer   *authserver.Server
	endpoint string // of the one that wants tokens
	http     *http.Server
	served   chan error
}

func startServers(ctx context.Context) (*servers, error) {
	s := &servers{served: make(chan error, 1)}
	var err error
	s.signed, err = sigv4server.Start(ctx, sigv4server.Config{
		Region: region, Service: service, AccessKey: accessKey, SecretKey: secret,
	}, whoami(func(r *mcp.CallToolRequest) string { return r.Extra.Header.Get(sigv4server.CallerHeader) }))
	if err != nil {
		return nil, err
	}
	s.issuer, err = authserver.Start(ctx, authserver.Config{
		AccessLifetime: lifetime, Clients: []authserver.Client{{ID: machineID, Secret: secret}},
	})
	if err != nil {
		return nil, errors.Join(err, s.signed.Close())
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, s.signed.Close(), s.issuer.Close())
	}
	s.endpoint = "http://" + l.Addr().String() + "/mcp"
	guarded, err := s.issuer.Guard(s.endpoint, whoami(func(r *mcp.CallToolRequest) string { return r.Extra.TokenInfo.UserID }), "mcp:read")
	if err != nil {
		return nil, errors.Join(err, l.Close(), s.signed.Close(), s.issuer.Close())
	}
	s.http = &http.Server{Handler: guarded, ReadHeaderTimeout: 10 * time.Second}
	go func() { s.served <- s.http.Serve(l) }()
	return s, nil
}

// whoami is an MCP server whose tool says who calls.
func whoami(caller func(*mcp.CallToolRequest) string) http.Handler {
	tools := mcp.NewServer(&mcp.Implementation{Name: "plugins-example", Version: "1"}, nil)
	mcp.AddTool(tools, &mcp.Tool{Name: "whoami", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: caller(r)}}}, nil, nil
		})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, nil)
}

func (s *servers) close() {
	_ = s.http.Close()   // nobody is there any more
	_ = s.signed.Close() // likewise
	_ = s.issuer.Close() // likewise
	<-s.served           //nolint:errcheck // it says that it was closed
}
