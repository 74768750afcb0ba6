package mcpool

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// LangChainTool is a tool of the server with the methods of langchaingo's
// tools.Tool, which this package does not import:
//
//	list, err := pool.LangChainTools(ctx)
//	var all []tools.Tool
//	for _, t := range list {
//		all = append(all, t)
//	}
//
// It may be used by several goroutines at once, as long as its pool is open.
type LangChainTool struct {
	pool        *Pool
	opts        []Option
	name, tool  string
	description string
	bare        string // the property that input without JSON is for; empty if there is none
	properties  map[string]bool
}

// LangChainTools returns all tools for agents of langchaingo. Their names are those
// of Functions. opts are for the calls; those that choose an identity choose the
// list too.
func (p *Pool) LangChainTools(ctx context.Context, opts ...Option) ([]*LangChainTool, error) {
	fns, err := p.Functions(ctx, opts...)
	if err != nil {
		return nil, err
	}
	list := make([]*LangChainTool, 0, len(fns))
	for i := range fns {
		list = append(list, newLangChainTool(p, &fns[i], opts))
	}
	return list, nil
}

func newLangChainTool(p *Pool, f *Function, opts []Option) *LangChainTool {
	var schema struct {
		Properties map[string]struct {
			Type any `json:"type"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	t := &LangChainTool{pool: p, opts: opts, name: f.Name, tool: f.Tool.Name, properties: make(map[string]bool)}
	_ = json.Unmarshal(f.Parameters, &schema) // properties of another form have no type that we know
	for name := range schema.Properties {
		t.properties[name] = true
		if len(schema.Properties) == 1 {
			t.bare = name
		}
	}
	if len(schema.Required) == 1 {
		t.bare = schema.Required[0]
	} else if len(schema.Required) > 1 {
		t.bare = ""
	}
	if schema.Properties[t.bare].Type != "string" {
		t.bare = ""
	}
	t.description = describe(t, f)
	return t
}

// describe says what the tool does, and what to give it: agents that choose tools by
// their text are shown nothing else.
func describe(t *LangChainTool, f *Function) string {
	input := "Input: a JSON object of this JSON schema: " + string(f.Parameters)
	switch {
	case len(t.properties) == 0:
		input = "Input: none, give {}"
	case t.bare != "":
		input = "Input: " + t.bare + " as plain text, or a JSON object of this JSON schema: " + string(f.Parameters)
	}
	return strings.TrimSpace(f.Description + "\n" + input)
}

// Name returns the name under which the tool is offered; see Function.
func (t *LangChainTool) Name() string { return t.name }

// ToolName returns the name that the tool has at the server.
func (t *LangChainTool) ToolName() string { return t.tool }

// Description returns what the tool does and which input it takes.
func (t *LangChainTool) Description() string { return t.description }

// Call calls the tool. input is a JSON object with the arguments. Where the tool has
// one property that is required, or one at all, and that is a string, it may be
// that string as it is. The result is that of ResultText.
//
// What the agent can do better next time (wrong arguments, a tool that failed) is a
// result that begins with "Error: ", because langchaingo ends an agent's run over an
// error. Errors are those of Pool.Call.
func (t *LangChainTool) Call(ctx context.Context, input string) (string, error) {
	var res *mcp.CallToolResult
	args, err := t.arguments(input)
	if err == nil {
		res, err = t.pool.Call(ctx, t.tool, args, t.opts...)
	}
	var (
		wrong *ArgumentError
		rpc   *jsonrpc.Error
	)
	switch {
	case err == nil:
		return ResultText(res), nil
	case errors.As(err, &wrong):
		return "Error: " + wrong.Error(), nil
	case errors.As(err, &rpc) && rpc.Code == jsonrpc.CodeInvalidParams:
		return "Error: " + rpc.Message, nil
	}
	return "", err
}

// arguments makes the arguments of a call from what an agent wrote.
func (t *LangChainTool) arguments(input string) (json.RawMessage, error) {
	input = strings.TrimSpace(input)
	object := unfenced(input)
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(object), &fields) == nil && fields != nil {
		// langchaingo's agent for OpenAI functions declares one string of this name
		// for each tool, and models put the arguments into it.
		var inner string
		if raw, ok := fields["__arg1"]; ok && len(fields) == 1 && !t.properties["__arg1"] && json.Unmarshal(raw, &inner) == nil {
			return t.arguments(inner)
		}
		return json.RawMessage(object), nil
	}
	if t.bare == "" || input == "" {
		return objectArguments(t.tool, json.RawMessage(object))
	}
	text := input
	if quoted := ""; json.Unmarshal([]byte(input), &quoted) == nil && input[0] == '"' {
		text = quoted
	}
	return json.Marshal(map[string]string{t.bare: text})
}

// unfenced returns what stands within a Markdown code fence, or s if it is none.
func unfenced(s string) string {
	inner, ok := strings.CutPrefix(s, "```")
	if !ok {
		return s
	}
	if inner, ok = strings.CutSuffix(inner, "```"); !ok {
		return s
	}
	if language, rest, found := strings.Cut(inner, "\n"); found && !strings.ContainsAny(language, "{ ") {
		inner = rest
	}
	return strings.TrimSpace(inner)
}
