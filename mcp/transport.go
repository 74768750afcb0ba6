package mcpool

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// transport makes the transport of one session. stream says that the session
// wants to hear the server outside of calls.
func (p *Pool) transport(ctx context.Context, s *conn, stream bool) (mcp.Transport, error) {
	switch p.kind {
	case kindHTTP:
		return &mcp.StreamableClientTransport{
			Endpoint: p.endpoint.String(), HTTPClient: s.id.client,
			DisableStandaloneSSE: !stream, MaxEventSize: p.cfg.HTTP.MaxEventBytes,
		}, nil
	case kindSSE:
		return lenient{&mcp.SSEClientTransport{
			Endpoint: p.endpoint.String(), HTTPClient: s.id.client, MaxEventSize: p.cfg.HTTP.MaxEventBytes,
		}}, nil
	case kindCommand:
		return p.startProcess(ctx, s)
	default:
		identity := s.id.auth
		identity.Attrs = maps.Clone(identity.Attrs)
		t, err := p.dialCustom(ctx, Dial{Name: p.cfg.Name, Identity: identity})
		if err == nil && t == nil {
			err = errors.New("mcpool: Config.Transport returned nil and no error")
		}
		return t, err
	}
}

// dialCustom calls Config.Transport; a panic in it is an error.
func (p *Pool) dialCustom(ctx context.Context, d Dial) (t mcp.Transport, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("mcpool: Config.Transport panicked: %v", v)
		}
	}()
	return p.cfg.Transport(ctx, d)
}

// lenient is an SSE transport on which a message that was not sent does not end
// the session: the SDK does so for every error that is not marked. Unlike that of
// Streamable HTTP its connection has nothing that wrapping would hide.
type lenient struct{ mcp.Transport }

func (t lenient) Connect(ctx context.Context) (mcp.Connection, error) {
	c, err := t.Transport.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return lenientConn{c}, nil
}

type lenientConn struct{ mcp.Connection }

func (c lenientConn) Write(ctx context.Context, msg jsonrpc.Message) error {
	err := c.Connection.Write(ctx, msg)
	var (
		throttled *ThrottledError
		refusal   *AuthError
		status    *StatusError
	)
	if errors.As(err, &throttled) || errors.As(err, &refusal) || errors.As(err, &status) {
		return fmt.Errorf("%w: %w", &jsonrpc.Error{Code: codeRejected, Message: "rejected by transport"}, err)
	}
	return err
}

// InMemory returns a Config.Transport that reaches a server in this process, with
// a connection of its own for each session.
func InMemory(server *mcp.Server) func(ctx context.Context, d Dial) (mcp.Transport, error) {
	return func(context.Context, Dial) (mcp.Transport, error) {
		if server == nil {
			return nil, errors.New("mcpool: InMemory: the server is nil")
		}
		here, there := mcp.NewInMemoryTransports()
		// The server's session ends with the connection, not with this context.
		if _, err := server.Connect(context.Background(), there, nil); err != nil {
			return nil, fmt.Errorf("mcpool: InMemory: %w", err)
		}
		return here, nil
	}
}
