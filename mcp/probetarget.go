package mcpool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/probe"
)

// ProbeWith returns a function for Config.HealthProbe that has a prober look at
// sessions: one of package plugins/probe, or one of one's own. Its verdicts mean
// what they mean to core: degraded sessions are kept but not preferred, and nobody
// is condemned over a prober that fails.
//
// The target that the prober gets is of kind "mcp". Its methods are those of MCP
// that read and that the server has, and tools/call: which tool may be called again
// and again, the prober's configuration has to say. Its attributes are
// protocolVersion, serverName and serverVersion. Params and results are those of
// the protocol, without their _meta.
//
// Of a nil prober it makes nil, which is the pool's own probe.
func ProbeWith(prober probe.Prober) func(ctx context.Context, s *Session) error {
	if prober == nil {
		return nil
	}
	return probe.For(prober, func(s *Session) probe.Target { return &sessionTarget{s} })
}

// sessionTarget is a session as a prober may know it.
type sessionTarget struct{ s *Session }

// asking makes a call with params as JSON and returns the result as JSON.
type asking func(ctx context.Context, s *Session, params json.RawMessage) (json.RawMessage, error)

// probeMethods are what a prober may call, and what the server must have for it.
var probeMethods = []struct {
	name string
	has  func(s *conn, c *mcp.ServerCapabilities) bool
	ask  asking
}{
	{"ping", func(s *conn, _ *mcp.ServerCapabilities) bool { return !s.modern() },
		ask(func(s *Session, ctx context.Context, p *mcp.PingParams) (*struct{}, error) {
			return &struct{}{}, s.Ping(ctx, p)
		})},
	{"server/discover", func(s *conn, _ *mcp.ServerCapabilities) bool { return s.modern() },
		ask(func(s *Session, ctx context.Context, _ *struct{}) (*struct{}, error) {
			return &struct{}{}, s.alive(ctx)
		})},
	{methodCallTool, hasTools, ask((*Session).CallTool)},
	{"tools/list", hasTools, ask((*Session).ListTools)},
	{"prompts/list", hasPrompts, ask((*Session).ListPrompts)},
	{"prompts/get", hasPrompts, ask((*Session).GetPrompt)},
	{"resources/list", hasResources, ask((*Session).ListResources)},
	{"resources/templates/list", hasResources, ask((*Session).ListResourceTemplates)},
	{"resources/read", hasResources, ask((*Session).ReadResource)},
}

func hasTools(_ *conn, c *mcp.ServerCapabilities) bool     { return c.Tools != nil }
func hasPrompts(_ *conn, c *mcp.ServerCapabilities) bool   { return c.Prompts != nil }
func hasResources(_ *conn, c *mcp.ServerCapabilities) bool { return c.Resources != nil }

// ask turns a method of Session into one of JSON.
func ask[P, R any](f func(*Session, context.Context, *P) (R, error)) asking {
	return func(ctx context.Context, s *Session, params json.RawMessage) (json.RawMessage, error) {
		p := new(P)
		if len(params) > 0 {
			if err := json.Unmarshal(params, p); err != nil {
				return nil, fmt.Errorf("mcpool: the params of a probe do not fit: %w", err)
			}
		}
		res, err := f(s, ctx, p)
		if err != nil {
			return nil, err
		}
		return json.Marshal(res)
	}
}

// Describe lists what the server has.
func (t *sessionTarget) Describe() probe.Description {
	s := t.s.conn
	d := probe.Description{
		Kind: "mcp", Pool: s.id.pool.cfg.Name, ID: strconv.FormatUint(s.serial, 10),
		Attrs: map[string]string{"protocolVersion": s.version},
	}
	caps := &mcp.ServerCapabilities{}
	if init := s.cs.InitializeResult(); init != nil {
		if init.Capabilities != nil {
			caps = init.Capabilities
		}
		if init.ServerInfo != nil {
			d.Attrs["serverName"], d.Attrs["serverVersion"] = init.ServerInfo.Name, init.ServerInfo.Version
		}
	}
	for _, m := range probeMethods {
		if m.has(s, caps) {
			d.Methods = append(d.Methods, m.name)
		}
	}
	return d
}

// Call makes a call that Describe lists.
func (t *sessionTarget) Call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	if !t.Describe().Lists(method) {
		return nil, fmt.Errorf("%w: %q", probe.ErrNotListed, method)
	}
	for _, m := range probeMethods {
		if m.name != method {
			continue
		}
		res, err := m.ask(ctx, t.s, params)
		var rpc *jsonrpc.Error
		if errors.As(err, &rpc) && rpc.Code != codeRejected {
			return nil, &probe.CallError{Method: method, Code: rpc.Code, Message: rpc.Message}
		}
		return res, err
	}
	return nil, fmt.Errorf("%w: %q", probe.ErrNotListed, method)
}
