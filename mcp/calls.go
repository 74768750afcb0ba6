package mcpool

import (
	"context"
	"maps"
	"net/http"
	"net/textproto"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Call calls a tool by name. args is anything that marshals to a JSON object, or
// nil. A tool that fails returns a result with IsError set and no error.
func (p *Pool) Call(ctx context.Context, name string, args any, opts ...Option) (*mcp.CallToolResult, error) {
	o, err := p.collect(opts)
	if err != nil {
		return nil, err
	}
	if p.cfg.CheckArguments {
		return do(ctx, p, o, callTool(&mcp.CallToolParams{Name: name, Arguments: args}))
	}
	return do(ctx, p, o, request[*mcp.CallToolResult]{
		method: methodCallTool, tool: name,
		send: func(ctx context.Context, s *mcp.ClientSession, token string) (*mcp.CallToolResult, error) {
			return s.CallTool(ctx, &mcp.CallToolParams{Meta: cloneMeta(nil, token), Name: name, Arguments: args})
		},
	})
}

// CallTool calls a tool on a shared session. It waits for one, and repeats the
// call, as the package comment says.
func (p *Pool) CallTool(ctx context.Context, params *mcp.CallToolParams, opts ...Option) (*mcp.CallToolResult, error) {
	o, err := p.collect(opts)
	if err != nil {
		return nil, err
	}
	return do(ctx, p, o, callTool(params))
}

// GetPrompt gets a prompt on a shared session.
func (p *Pool) GetPrompt(ctx context.Context, params *mcp.GetPromptParams, opts ...Option) (*mcp.GetPromptResult, error) {
	o, err := p.collect(opts)
	if err != nil {
		return nil, err
	}
	return do(ctx, p, o, getPrompt(params))
}

// ReadResource reads a resource on a shared session.
func (p *Pool) ReadResource(ctx context.Context, params *mcp.ReadResourceParams, opts ...Option) (*mcp.ReadResourceResult, error) {
	o, err := p.collect(opts)
	if err != nil {
		return nil, err
	}
	return do(ctx, p, o, readResource(params))
}

// Complete asks for completions on a shared session.
func (p *Pool) Complete(ctx context.Context, params *mcp.CompleteParams, opts ...Option) (*mcp.CompleteResult, error) {
	o, err := p.collect(opts)
	if err != nil {
		return nil, err
	}
	return do(ctx, p, o, complete(params))
}

func callTool(params *mcp.CallToolParams) request[*mcp.CallToolResult] {
	if params == nil {
		params = &mcp.CallToolParams{}
	}
	return request[*mcp.CallToolResult]{
		method: methodCallTool, tool: params.Name, params: params,
		send: func(ctx context.Context, s *mcp.ClientSession, token string) (*mcp.CallToolResult, error) {
			own := *params // the SDK writes to what it gets
			own.Meta = cloneMeta(params.Meta, token)
			return s.CallTool(ctx, &own)
		},
	}
}

func getPrompt(params *mcp.GetPromptParams) request[*mcp.GetPromptResult] {
	var given mcp.GetPromptParams
	if params != nil {
		given = *params
	}
	return request[*mcp.GetPromptResult]{
		method: "prompts/get",
		send: func(ctx context.Context, s *mcp.ClientSession, token string) (*mcp.GetPromptResult, error) {
			own := given
			own.Meta = cloneMeta(given.Meta, token)
			return s.GetPrompt(ctx, &own)
		},
	}
}

func readResource(params *mcp.ReadResourceParams) request[*mcp.ReadResourceResult] {
	var given mcp.ReadResourceParams
	if params != nil {
		given = *params
	}
	return request[*mcp.ReadResourceResult]{
		method: "resources/read",
		send: func(ctx context.Context, s *mcp.ClientSession, token string) (*mcp.ReadResourceResult, error) {
			own := given
			own.Meta = cloneMeta(given.Meta, token)
			return s.ReadResource(ctx, &own)
		},
	}
}

func complete(params *mcp.CompleteParams) request[*mcp.CompleteResult] {
	var given mcp.CompleteParams
	if params != nil {
		given = *params
	}
	return request[*mcp.CompleteResult]{
		method: "completion/complete",
		send: func(ctx context.Context, s *mcp.ClientSession, _ string) (*mcp.CompleteResult, error) {
			own := given
			own.Meta = cloneMeta(given.Meta, "")
			return s.Complete(ctx, &own)
		},
	}
}

// cloneMeta returns what one attempt may write to, with the token of its progress.
func cloneMeta(m mcp.Meta, token string) mcp.Meta {
	if token == "" {
		return maps.Clone(m)
	}
	own := make(mcp.Meta, len(m)+1)
	maps.Copy(own, m)
	own["progressToken"] = token
	return own
}

// withContextHeaders returns o with what Config.Headers returned; the call's own
// headers win.
func (o *options) withContextHeaders(h http.Header) (*options, error) {
	if len(h) == 0 {
		return o, nil
	}
	if err := auth.CheckHeader(h); err != nil {
		return nil, &OptionError{Option: "Config.Headers", Problem: "returned a header that is refused: " + err.Error()}
	}
	merged := make(http.Header, len(h)+len(o.header))
	for name, values := range h {
		merged[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	maps.Copy(merged, o.header)
	own := *o
	own.header = merged
	return &own, nil
}
