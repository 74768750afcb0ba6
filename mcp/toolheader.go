package mcpool

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A tool can have arguments sent as HTTP headers besides (SEP-2243): properties of
// its input schema carry the header's name under this key. A client must leave out
// tools where that is done wrongly, and keep the others.
const headerMark = "x-mcp-header"

// usable leaves out the tools that cannot be called as their schemas say. The SDK
// does so in its own lists, which the pool goes past.
func usable(ctx context.Context, tools []*mcp.Tool) []*mcp.Tool {
	kept := make([]*mcp.Tool, 0, len(tools))
	for _, t := range tools {
		if t == nil {
			continue
		}
		if err := checkHeaderMarks(t.InputSchema); err != nil {
			if s := connOf(ctx); s != nil {
				p := s.id.pool
				p.journal.write(slog.LevelWarn, "tool left out of the list", "", slog.String("tool", t.Name), cause(err))
			}
			continue
		}
		kept = append(kept, t)
	}
	return kept
}

// checkHeaderMarks says what is wrong with the marks in an input schema.
func checkHeaderMarks(schema any) error {
	m := marks{names: make(map[string]bool)}
	return m.check(schema, "", true)
}

type marks struct{ names map[string]bool } // in lower case

// check looks at a schema and those within it. Only properties of properties have
// one value in every call: reachable is false below anything else.
func (m *marks) check(schema any, path string, reachable bool) error {
	if list, ok := schema.([]any); ok {
		for i, sub := range list {
			if err := m.check(sub, fmt.Sprintf("%s[%d]", path, i), false); err != nil {
				return err
			}
		}
		return nil
	}
	s, ok := schema.(map[string]any)
	if !ok {
		return nil
	}
	if mark, ok := s[headerMark]; ok {
		if err := m.mark(mark, s["type"], path, reachable); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		var err error
		switch key {
		case headerMark, "const", "default", "enum", "examples":
			continue // values, not schemas
		case "properties":
			err = m.each(s[key], path, reachable)
		case "$defs", "definitions", "dependentSchemas", "patternProperties":
			err = m.each(s[key], path+"/"+key, false)
		default:
			err = m.check(s[key], path+"/"+key, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// each checks schemas that stand under names.
func (m *marks) each(schemas any, path string, reachable bool) error {
	named, ok := schemas.(map[string]any)
	if !ok {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if err := m.check(named[name], path+"/"+name, reachable); err != nil {
			return err
		}
	}
	return nil
}

func (m *marks) mark(mark, kind any, path string, reachable bool) error {
	name, _ := mark.(string)
	switch {
	case !reachable:
		return fmt.Errorf("input schema %s: %s is where no single value is", path, headerMark)
	case kind != "string" && kind != "integer" && kind != "boolean":
		return fmt.Errorf("input schema %s: %s is on a value that is no string, integer or boolean", path, headerMark)
	case !isToken(name):
		return fmt.Errorf("input schema %s: %s is not the name of a header", path, headerMark)
	case m.names[strings.ToLower(name)]:
		return fmt.Errorf("input schema %s: %s %q is there twice", path, headerMark, name)
	}
	m.names[strings.ToLower(name)] = true
	return nil
}

// onlyMarked is what a session keeps of the tools that it lists to be primed: those
// with marks. The SDK holds on to the list, which is most of what an idle session has.
func onlyMarked(res mcp.Result, err error) (mcp.Result, error) {
	list, ok := res.(*mcp.ListToolsResult)
	if err != nil || !ok {
		return res, err //nolint:wrapcheck // it is the SDK's, for the SDK
	}
	var kept []*mcp.Tool
	for _, t := range list.Tools {
		if t != nil && mentionsMark(t.InputSchema) {
			kept = append(kept, &mcp.Tool{Name: t.Name, InputSchema: t.InputSchema})
		}
	}
	list.Tools, list.Meta = kept, nil
	return list, nil
}

// mentionsMark tells whether there is a mark anywhere in a schema, right or wrong.
func mentionsMark(schema any) bool {
	switch s := schema.(type) {
	case map[string]any:
		for key, sub := range s {
			if strings.EqualFold(key, headerMark) || mentionsMark(sub) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(s, mentionsMark)
	}
	return false
}

// isToken is RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
