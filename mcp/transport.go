package mcpool

import (
	"context"
	"errors"
	"fmt"
	"io"
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
			Endpoint: p.address, HTTPClient: s.id.client,
			DisableStandaloneSSE: !stream, MaxEventSize: p.cfg.HTTP.MaxEventBytes,
		}, nil
	case kindSSE:
		return lenient{&mcp.SSEClientTransport{
			Endpoint: p.address, HTTPClient: s.id.client, MaxEventSize: p.cfg.HTTP.MaxEventBytes,
		}}, nil
	case kindCommand:
		return p.startProcess(ctx, s)
	default:
		if p.cfg.Dialer != nil {
			return p.dialTransport(ctx, s)
		}
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

// Connect asks for the stream of the session with a context of its own: the SDK
// reads the stream as long as that lasts, and ctx ends with the opening.
func (t lenient) Connect(ctx context.Context) (mcp.Connection, error) {
	stream, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	c, err := t.Transport.Connect(stream)
	if !stop() && err == nil {
		_ = c.Close() // nobody waits for it any more
		err = contextError(ctx)
	}
	if err != nil {
		end()
		return nil, err
	}
	return lenientConn{c, stream, end}, nil
}

type lenientConn struct {
	mcp.Connection

	stream context.Context // ends with the stream
	end    context.CancelFunc
}

// Read ends what is being sent when the stream has ended: without it there is no
// answer. There are servers that never answer a POST to a session they have forgotten.
func (c lenientConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	msg, err := c.Connection.Read(ctx)
	if err != nil {
		c.end()
	}
	return msg, err //nolint:wrapcheck // it is the SDK's, for the SDK
}

func (c lenientConn) Close() error {
	defer c.end()
	return c.Connection.Close() //nolint:wrapcheck // it is the SDK's, for the SDK
}

func (c lenientConn) Write(ctx context.Context, msg jsonrpc.Message) error {
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.stream, cancel)()
	err := c.Connection.Write(sending, msg)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = fmt.Errorf("the stream of the session ended: %w", io.ErrUnexpectedEOF)
	}
	var (
		session   *SessionError
		throttled *ThrottledError
		refusal   *AuthError
		status    *StatusError
	)
	switch {
	case err == io.EOF: //nolint:errorlint // as it is: the stream had ended, and nothing was sent
		return fmt.Errorf("%w: %w", errNotWritten, err)
	case errors.As(err, &session), errors.As(err, &throttled), errors.As(err, &refusal), errors.As(err, &status):
		return fmt.Errorf("%w: %w", &jsonrpc.Error{Code: codeRejected, Message: "rejected by transport"}, err)
	}
	return err //nolint:wrapcheck // it is the SDK's, for the SDK
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
