package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// A caller calls a tool again and again, in one of the ways that are compared.
type caller struct {
	call  func(ctx context.Context, tool string) error
	close func() error
}

// A mcpServer is where callers connect to: an endpoint of the server process, or
// a server in this process.
type mcpServer struct {
	version  string
	endpoint string                                                          // empty for memory
	memory   func(ctx context.Context, d mcpool.Dial) (mcp.Transport, error) // nil for HTTP
	close    func() error
}

// The places where a server can be.
const (
	inProcess = "memory" // answering calls on the spot
	sdkServer = "memory_sdk"
	overHTTP  = "http"
)

// openServer starts a server of an era.
func openServer(where, version string) (*mcpServer, error) {
	s := &mcpServer{version: version, close: func() error { return nil }}
	if where != overHTTP {
		s.memory = mcpool.InMemory(newMCPServer())
	}
	switch where {
	case sdkServer:
		return s, nil
	case inProcess:
		dial := s.memory
		s.memory = func(ctx context.Context, d mcpool.Dial) (mcp.Transport, error) {
			t, err := dial(ctx, d)
			return instant{t}, err
		}
		return s, nil
	}
	r, err := startRemote("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.endpoint, s.close = r.url(map[string]string{versionOld: "old", version2026: "2026"}[version]), r.kill
	return s, nil
}

// clientInfo is what every client says of itself, so that none has more to send.
var clientInfo = &mcp.Implementation{Name: "bench", Version: "1"} //nolint:gochecknoglobals // immutable

// session opens a session of the SDK without a standing stream, which has listed
// the tools.
func (s *mcpServer) session(ctx context.Context, client *mcp.Client, base *http.Client) (*mcp.ClientSession, error) {
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: s.endpoint, HTTPClient: base, DisableStandaloneSSE: true}
	if s.memory != nil {
		var err error
		if transport, err = s.memory(ctx, mcpool.Dial{}); err != nil {
			return nil, err
		}
	}
	cs, err := client.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: s.version})
	if err != nil {
		return nil, err
	}
	if _, err := cs.ListTools(ctx, nil); err != nil {
		return nil, errors.Join(err, cs.Close())
	}
	return cs, nil
}

func newClient() *mcp.Client {
	return mcp.NewClient(clientInfo, &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}})
}

// direct is one warm session of the SDK.
func direct(s *mcpServer) (*caller, error) {
	base := &http.Transport{}
	cs, err := s.session(context.Background(), newClient(), &http.Client{Transport: base})
	if err != nil {
		return nil, err
	}
	return &caller{
		call: func(ctx context.Context, tool string) error { return callOn(ctx, cs, tool) },
		close: func() error {
			defer base.CloseIdleConnections()
			return cs.Close()
		},
	}, nil
}

// directEach is n warm sessions of the SDK, each used by one call at a time.
func directEach(n int) func(*mcpServer) (*caller, error) {
	return func(s *mcpServer) (*caller, error) {
		base := &http.Transport{MaxIdleConnsPerHost: n}
		free := make(chan *mcp.ClientSession, n)
		closeAll := func() error {
			defer base.CloseIdleConnections()
			var err error
			for range len(free) {
				err = errors.Join(err, (<-free).Close())
			}
			return err
		}
		for range n {
			cs, err := s.session(context.Background(), newClient(), &http.Client{Transport: base})
			if err != nil {
				return nil, errors.Join(err, closeAll())
			}
			free <- cs
		}
		return &caller{
			call: func(ctx context.Context, tool string) error {
				cs := <-free
				defer func() { free <- cs }()
				return callOn(ctx, cs, tool)
			},
			close: closeAll,
		}, nil
	}
}

// perCall is life without a pool, as the SDK's examples show it: its defaults all
// along, and the tools listed where that is asked for.
func perCall(list bool) func(*mcpServer) (*caller, error) {
	return func(s *mcpServer) (*caller, error) {
		return &caller{
			call: func(ctx context.Context, tool string) error {
				client := mcp.NewClient(clientInfo, nil)
				cs, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: s.endpoint}, nil)
				if err != nil {
					return err
				}
				if list {
					_, err = cs.ListTools(ctx, nil)
				}
				if err == nil {
					err = callOn(ctx, cs, tool)
				}
				return errors.Join(err, cs.Close())
			},
			close: func() error { http.DefaultClient.CloseIdleConnections(); return nil },
		}, nil
	}
}

// pooled is a pool; change, if not nil, changes its configuration.
func pooled(change func(*mcpool.Config), opts ...mcpool.Option) func(*mcpServer) (*caller, error) {
	return func(s *mcpServer) (*caller, error) {
		cfg := mcpool.Config{Endpoint: s.endpoint, ProtocolVersion: s.version, ClientInfo: clientInfo, AcquireTimeout: time.Minute}
		if s.memory != nil {
			cfg.Transport = s.memory
		}
		if change != nil {
			change(&cfg)
		}
		p, err := mcpool.Open(context.Background(), cfg)
		if err == nil {
			err = p.WaitReady(context.Background())
		}
		if err != nil {
			return nil, err
		}
		return &caller{
			call: func(ctx context.Context, tool string) error {
				res, err := p.Call(ctx, tool, toolArgs, opts...)
				return checkAnswer(res, err)
			},
			close: func() error { return p.Close(context.Background()) },
		}, nil
	}
}

var toolArgs = map[string]any{"text": "hello"} //nolint:gochecknoglobals // immutable

func callOn(ctx context.Context, cs *mcp.ClientSession, tool string) error {
	res, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: toolArgs})
	return checkAnswer(res, err)
}

// checkAnswer holds that the tool said what it was told.
func checkAnswer(res *mcp.CallToolResult, err error) error {
	if err != nil {
		return err
	}
	if len(res.Content) == 1 {
		if text, ok := res.Content[0].(*mcp.TextContent); ok && text.Text == "hello" && !res.IsError {
			return nil
		}
	}
	return fmt.Errorf("the tool answered %+v", res)
}
