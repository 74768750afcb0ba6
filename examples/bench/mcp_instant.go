package main

import (
	"context"
	"encoding/json"
	"io"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// instant is a transport to a server in this process that answers tool calls on the
// spot; everything else goes to the server. The SDK's server takes 100 µs and
// allocates 300 KB for a call in memory, under which a microsecond of a client
// cannot be seen.
type instant struct{ mcp.Transport }

func (t instant) Connect(ctx context.Context) (mcp.Connection, error) {
	inner, err := t.Transport.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &instantConn{Connection: inner, messages: make(chan jsonrpc.Message, 1), closed: make(chan struct{})}
	go c.pump()
	return c, nil
}

type instantConn struct {
	mcp.Connection

	messages chan jsonrpc.Message
	closing  sync.Once
	closed   chan struct{}
}

func (c *instantConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case msg := <-c.messages:
		return msg, nil
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *instantConn) Write(ctx context.Context, msg jsonrpc.Message) error {
	req, ok := msg.(*jsonrpc.Request)
	if !ok || req.Method != "tools/call" {
		return c.Connection.Write(ctx, msg)
	}
	select {
	case c.messages <- &jsonrpc.Response{ID: req.ID, Result: instantAnswer}:
	case <-c.closed:
	}
	return nil
}

func (c *instantConn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Connection.Close()
}

// pump hands on what the server says.
func (c *instantConn) pump() {
	for {
		msg, err := c.Connection.Read(context.Background())
		if err != nil {
			return
		}
		select {
		case c.messages <- msg:
		case <-c.closed:
			return
		}
	}
}

var instantAnswer = json.RawMessage(`{"content":[{"type":"text","text":"hello"}],"resultType":"complete"}`) //nolint:gochecknoglobals // immutable
