package mcpool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// ErrNoFunction reports a call of a function that no tool of the server has.
// Models invent names: tell the model rather than the user.
var ErrNoFunction = errors.New("mcpool: no such function")

// Function is a tool in the form that the APIs of language models take. As JSON it
// has name, description and parameters: the "function" of an OpenAI request, and a
// declaration of a Gemini one. For Anthropic, Parameters is the "input_schema".
type Function struct {
	// Name is the tool's, changed where the APIs would not take it: it has at most
	// 64 of a-z, A-Z, 0-9, _ and -, begins with a letter or _, and no two functions
	// of a list have the same, whatever the case. Which name a tool has depends on
	// the list of tools alone, not on their order.
	Name string `json:"name"`
	// Description is the tool's, or its title if it has none.
	Description string `json:"description,omitempty"`
	// Parameters is the tool's input schema. It always is that of an object with
	// properties, if only none.
	Parameters json.RawMessage `json:"parameters"`
	// Tool is where it comes from, with its annotations. Do not write to it.
	Tool *mcp.Tool `json:"-"`
}

// Functions returns all tools as function definitions, sorted by name, from the
// same memory as ListTools. Of the options only those that choose an identity count.
func (p *Pool) Functions(ctx context.Context, opts ...Option) ([]Function, error) {
	set, err := p.functions(ctx, opts)
	if err != nil {
		return nil, err
	}
	return set.sorted(), nil
}

// CallFunction calls the tool that Functions named, with arguments as a model
// wrote them: a JSON object, or nothing. It fails with an error that is
// ErrNoFunction if there is no function of that name, and with *ArgumentError if
// the arguments are no JSON object. Both are for the model to read.
func (p *Pool) CallFunction(ctx context.Context, name string, arguments json.RawMessage, opts ...Option) (*mcp.CallToolResult, error) {
	set, err := p.functions(ctx, opts)
	if err != nil {
		return nil, err
	}
	tool, ok := set.byName[name]
	if !ok {
		return nil, fmt.Errorf("%w: %.80q", ErrNoFunction, name)
	}
	args, err := objectArguments(tool.Name, arguments)
	if err != nil {
		return nil, err
	}
	return p.Call(ctx, tool.Name, args, opts...)
}

// functions returns the names for the list of now.
func (p *Pool) functions(ctx context.Context, opts []Option) (*functionSet, error) {
	id, err := p.listsOf(opts)
	if err != nil {
		return nil, err
	}
	id.listen()
	tools, err := id.lists.tools.share(ctx)
	if err != nil {
		return nil, err
	}
	return id.lists.names.of(tools), nil
}

// objectArguments checks that arguments are a JSON object. Models write nothing, or
// null, for a call without any.
func objectArguments(tool string, arguments json.RawMessage) (json.RawMessage, error) {
	arguments = bytes.TrimSpace(arguments)
	switch {
	case len(arguments) == 0, string(arguments) == "null":
		return json.RawMessage("{}"), nil
	case !json.Valid(arguments):
		return nil, &ArgumentError{Tool: tool, Problem: "are not JSON: give one JSON object"}
	case arguments[0] != '{':
		return nil, &ArgumentError{Tool: tool, Problem: "are not a JSON object"}
	}
	return arguments, nil
}

// functionSet is the function names of one list of tools.
type functionSet struct {
	tools  []*mcp.Tool          // the list; kept, so that its address stays its own
	names  []string             // sorted
	byName map[string]*mcp.Tool // by function name
}

// functionCache remembers the names for the list of tools that was seen last.
type functionCache struct {
	mu  sync.Mutex
	set *functionSet // guarded by mu
}

// of returns the names for a list.
func (c *functionCache) of(tools []*mcp.Tool) *functionSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set == nil || !sameList(c.set.tools, tools) {
		c.set = functionsOf(tools)
	}
	return c.set
}

// sameList tells whether two lists come from the same fetch: each fetch makes
// tools of its own.
func sameList(a, b []*mcp.Tool) bool {
	return len(a) == len(b) && (len(a) == 0 || a[0] == b[0])
}

// functionsOf gives every tool a name. Tools whose own name will do get it first,
// so that none of the made-up names takes it from them.
func functionsOf(tools []*mcp.Tool) *functionSet {
	s := &functionSet{tools: tools, byName: make(map[string]*mcp.Tool, len(tools))}
	taken := make(map[string]bool, len(tools))
	known := make(map[string]*mcp.Tool, len(tools))
	for _, t := range tools {
		if t != nil {
			known[t.Name] = t
		}
	}
	var rest []string
	add := func(name, tool string) {
		taken[strings.ToLower(name)] = true
		s.byName[name] = known[tool]
	}
	for _, tool := range slices.Sorted(maps.Keys(known)) {
		if functionName(tool) == tool && !taken[strings.ToLower(tool)] {
			add(tool, tool)
		} else {
			rest = append(rest, tool)
		}
	}
	for _, tool := range rest {
		for salt := ""; ; salt += "+" {
			sum := sha256.Sum256([]byte(tool + "\x00" + salt))
			base := functionName(tool)
			name := base[:min(len(base), maxFunctionName-9)] + "_" + hex.EncodeToString(sum[:4])
			if !taken[strings.ToLower(name)] {
				add(name, tool)
				break
			}
		}
	}
	s.names = slices.Sorted(maps.Keys(s.byName))
	return s
}

// maxFunctionName is what the strictest of the APIs takes.
const maxFunctionName = 64

// functionName replaces what APIs do not take in a name.
func functionName(tool string) string {
	var b strings.Builder
	for i, r := range tool {
		switch letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'; {
		case letter, i > 0 && (r == '-' || '0' <= r && r <= '9'):
			b.WriteRune(r)
		case i == 0 && '0' <= r && r <= '9':
			b.WriteString("_" + string(r))
		default:
			b.WriteByte('_')
		}
		if b.Len() >= maxFunctionName {
			break
		}
	}
	name := b.String()
	if name == "" {
		return "_"
	}
	return name[:min(len(name), maxFunctionName)]
}

func (s *functionSet) sorted() []Function {
	fns := make([]Function, 0, len(s.names))
	for _, name := range s.names {
		t := s.byName[name]
		f := Function{Name: name, Description: t.Description, Parameters: parameters(t), Tool: t}
		if f.Description == "" {
			f.Description = t.Title
		}
		fns = append(fns, f)
	}
	return fns
}

// parameters returns a tool's input schema in the form that all APIs take: of an
// object, with properties, and without $schema, which tells a model nothing and
// which some refuse.
func parameters(t *mcp.Tool) json.RawMessage {
	schema := make(map[string]json.RawMessage)
	if raw, err := json.Marshal(t.InputSchema); err == nil && json.Unmarshal(raw, &schema) != nil || schema == nil {
		schema = make(map[string]json.RawMessage)
	}
	delete(schema, "$schema")
	schema["type"] = json.RawMessage(`"object"`)
	if _, ok := schema["properties"]; !ok {
		schema["properties"] = json.RawMessage(`{}`)
	}
	raw, _ := json.Marshal(schema) //nolint:errchkjson // it came from JSON
	return raw
}
