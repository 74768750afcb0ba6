package mcpool

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// ArgumentError says what is wrong with the arguments of a call. Nothing was sent.
// It holds no value of an argument, so that it may be logged, and it is written so
// that a model that reads it can do better.
type ArgumentError struct {
	Tool string
	// Path is the argument as a JSON pointer (RFC 6901), such as /filter/0/name;
	// empty for the arguments as a whole.
	Path string
	// Problem says what is wanted.
	Problem string
}

func (e *ArgumentError) Error() string {
	if e.Path == "" {
		return "mcpool: tool " + e.Tool + ": the arguments " + e.Problem
	}
	return "mcpool: tool " + e.Tool + ": argument " + e.Path + " " + e.Problem
}

// checkArguments checks a call against the schema in the list of tools. s is the
// session that the call is to be made on, nil if the pool chooses one. What cannot
// be judged is let through: the server checks it anyway.
func (p *Pool) checkArguments(ctx context.Context, id *identity, s *Session, params *mcp.CallToolParams) error {
	id.listen()
	l := &id.lists.tools
	tools, ok := l.current()
	if !ok {
		var err error
		if s != nil {
			// It may be the only one, and then the list would wait for it.
			tools, err = s.refresh(ctx, l)
		} else {
			tools, err = l.share(ctx)
		}
		if err != nil {
			if ctx.Err() != nil {
				return contextError(ctx)
			}
			return nil // the call will find out the same, or succeed
		}
	}
	check := id.lists.checks.of(tools, params.Name)
	if check == nil {
		return nil // not a tool that the server lists
	}
	schema, err := check.compiled()
	if err != nil {
		p.warnOnce(params.Name, err)
		return nil
	}
	args, ok := plainArguments(params.Arguments)
	if !ok {
		return nil
	}
	return schema.check(params.Name, args)
}

// refresh lists the tools on the session, for everybody.
func (s *Session) refresh(ctx context.Context, l *list[*mcp.Tool]) (tools []*mcp.Tool, err error) {
	generation := l.mark()
	for tool, err := range s.Tools(ctx) {
		if err != nil {
			return nil, err
		}
		tools = append(tools, tool)
	}
	l.put(tools, generation)
	return tools, nil
}

// plainArguments returns arguments as the server will see them: maps, slices,
// strings, numbers. It returns false for what cannot be written as JSON or holds
// numbers too large for it: the SDK has an error for the one, and the server may
// know better about the other.
func plainArguments(args any) (plain any, ok bool) {
	raw, isRaw := args.(json.RawMessage)
	if args == nil || isRaw && len(raw) == 0 {
		return map[string]any{}, true // which is what the SDK sends
	}
	if !isRaw {
		var err error
		if raw, err = json.Marshal(args); err != nil {
			return nil, false
		}
	}
	return plain, json.Unmarshal(raw, &plain) == nil
}

// warned is what was logged once.
type warned struct {
	mu    sync.Mutex
	tools map[string]bool // guarded by mu
}

// maxWarned bounds what is remembered of servers that make up ever new tools.
const maxWarned = 1000

// warnOnce logs that the arguments of a tool are not checked.
func (p *Pool) warnOnce(tool string, err error) {
	w := &p.warned
	w.mu.Lock()
	known := w.tools[tool] || len(w.tools) >= maxWarned
	if !known {
		if w.tools == nil {
			w.tools = make(map[string]bool)
		}
		w.tools[tool] = true
	}
	w.mu.Unlock()
	if !known {
		p.cfg.Logger.Warn("mcpool: arguments of a tool are not checked", "pool", p.cfg.Name, "tool", tool, "cause", err)
	}
}

// checkCache has the compiled schemas of one list of tools.
type checkCache struct {
	mu     sync.Mutex
	tools  []*mcp.Tool      // guarded by mu; the list that byName is of
	byName map[string]check // guarded by mu
}

// check compiles the schema of a tool, once, when it is first called.
type check struct {
	compiled func() (*toolSchema, error)
}

// of returns what checks a tool of a list, nil if the list does not have it.
func (c *checkCache) of(tools []*mcp.Tool, name string) *check {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName == nil || !sameList(c.tools, tools) {
		c.tools, c.byName = tools, make(map[string]check, len(tools))
		for _, t := range tools {
			if t != nil {
				c.byName[t.Name] = check{sync.OnceValues(func() (*toolSchema, error) { return compile(t.InputSchema) })}
			}
		}
	}
	if found, ok := c.byName[name]; ok {
		return &found
	}
	return nil
}

// toolSchema is the compiled input schema of a tool.
type toolSchema struct {
	root     *jsonschema.Schema
	resolved *jsonschema.Resolved
}

// compile compiles a schema, or says why it is not to be used.
func compile(schema any) (_ *toolSchema, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("compiling the schema panicked: %v", v)
		}
	}()
	raw, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	root := new(jsonschema.Schema)
	if err := json.Unmarshal(raw, root); err != nil {
		return nil, err
	}
	switch root.Schema {
	case "", "http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft-07/schema#",
		"https://json-schema.org/draft/2020-12/schema":
	default:
		return nil, fmt.Errorf("the schema is written in %.100q, which is not supported", root.Schema)
	}
	resolved, err := root.Resolve(nil)
	if err != nil {
		return nil, err
	}
	if err := bounded(root); err != nil {
		return nil, err
	}
	return &toolSchema{root: root, resolved: resolved}, nil
}

// check returns an *ArgumentError if args do not match. What makes the library
// panic is let through.
func (s *toolSchema) check(tool string, args any) (err error) {
	defer func() {
		if recover() != nil {
			err = nil
		}
	}()
	// Its error would quote the arguments, so another is made.
	if s.resolved.Validate(args) == nil {
		return nil
	}
	path, problem := s.explain(args)
	if problem == "" {
		problem = "do not match the tool's input schema"
		if path != "" {
			problem = "does not match the tool's input schema"
		}
	}
	return &ArgumentError{Tool: tool, Path: path, Problem: problem}
}
