package mcpool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// addTool adds a tool that answers with its own name and the arguments it got.
func addTool(m *mcp.Server, name string, schema any) {
	m.AddTool(&mcp.Tool{Name: name, Description: "does " + name, InputSchema: schema},
		func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name + " " + string(r.Params.Arguments)}}}, nil
		})
}

func object(properties string, required ...string) json.RawMessage {
	list, err := json.Marshal(slices.Concat([]string{}, required))
	if err != nil {
		panic(err)
	}
	return json.RawMessage(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":` + properties + `,"required":` + string(list) + `}`)
}

// patient is for machines that are busy with other things.
const patient = time.Minute

func slow(c *Config) { c.ConnectTimeout = patient }

func openMemory(t *testing.T, m *mcp.Server, change func(*Config)) *Pool {
	t.Helper()
	cfg := Config{Transport: InMemory(m), Min: 1, ConnectTimeout: patient}
	if change != nil {
		change(&cfg)
	}
	return openPool(t, cfg)
}

func TestEveryToolIsAFunctionThatCanBeCalled(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		p := newServer(t, e).open(slow)
		fns, err := p.Functions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tools, err := p.ListTools(t.Context())
		if err != nil || len(fns) != len(tools) {
			t.Fatalf("%d functions for %d tools (%v)", len(fns), len(tools), err)
		}
		if !slices.IsSortedFunc(fns, func(a, b Function) int { return strings.Compare(a.Name, b.Name) }) {
			t.Error("not sorted")
		}
		res, err := p.CallFunction(t.Context(), "echo", json.RawMessage(`{"text":"hi"}`))
		if got := text(t, res, err); got != "hi" {
			t.Errorf("got %q", got)
		}
		if _, err := p.CallFunction(t.Context(), "ecko", nil); !errors.Is(err, ErrNoFunction) {
			t.Errorf("a name that a model made up: %v", err)
		}
	})
}

var anyAPI = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_-]{0,63}$`)

func TestFunctionNamesAreWhatAnyAPITakesAndLeadBack(t *testing.T) {
	t.Parallel()
	m := mcp.NewServer(&mcp.Implementation{Name: "names", Version: "1"}, nil)
	long := strings.Repeat("x", 100)
	tools := []string{"a.b", "a/b", "a_b", "Read", "read", "1st", "-dash", long, long + "y", "plain-1_A"}
	for _, name := range tools {
		addTool(m, name, object(`{}`))
	}
	p := openMemory(t, m, nil)
	fns, err := p.Functions(t.Context())
	if err != nil || len(fns) != len(tools) {
		t.Fatalf("%d functions, %v", len(fns), err)
	}
	seen := make(map[string]bool)
	for _, f := range fns {
		if !anyAPI.MatchString(f.Name) {
			t.Errorf("%q is no name that every API takes", f.Name)
		}
		if fold := strings.ToLower(f.Name); seen[fold] {
			t.Errorf("%q is there twice", f.Name)
		} else {
			seen[fold] = true
		}
		res, err := p.CallFunction(t.Context(), f.Name, nil)
		if got := text(t, res, err); got != f.Tool.Name+" {}" {
			t.Errorf("%q called %q", f.Name, got)
		}
	}
	for _, own := range []string{"a_b", "Read", "plain-1_A"} {
		if !slices.ContainsFunc(fns, func(f Function) bool { return f.Name == own && f.Tool.Name == own }) {
			t.Errorf("%q does not have its own name", own)
		}
	}
}

func TestAFunctionNameDoesNotDependOnTheOtherTools(t *testing.T) {
	t.Parallel()
	nameOf := func(tool string, all ...string) string {
		var list []*mcp.Tool
		for _, name := range all {
			list = append(list, &mcp.Tool{Name: name})
		}
		for name, t := range functionsOf(list).byName {
			if t.Name == tool {
				return name
			}
		}
		return ""
	}
	alone := nameOf("a.b", "a.b")
	if got := nameOf("a.b", "z", "a_b", "a/b", "a.b"); got != alone {
		t.Errorf("%q alone, %q among others", alone, got)
	}
	// A server that takes the name on purpose gets it, and the other one another.
	taken := nameOf("a.b", "a.b", alone)
	if taken == alone || taken == "" || nameOf(alone, "a.b", alone) != alone {
		t.Errorf("%q is taken, and got %q", alone, taken)
	}
}

func TestParametersAreTheSchemaOfAnObject(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		schema any
		want   string
	}{
		"nothing":   {nil, `{"properties":{},"type":"object"}`},
		"typeless":  {map[string]any{"properties": map[string]any{"a": true}}, `{"properties":{"a":true},"type":"object"}`},
		"a boolean": {true, `{"properties":{},"type":"object"}`},
		"no properties": {
			json.RawMessage(`{"$schema":"x","type":"object","additionalProperties":false}`),
			`{"additionalProperties":false,"properties":{},"type":"object"}`,
		},
	} {
		if got := string(parameters(&mcp.Tool{InputSchema: c.schema})); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestArgumentsOfAFunctionAreOneObjectOrNothing(t *testing.T) {
	t.Parallel()
	m := mcp.NewServer(&mcp.Implementation{Name: "args", Version: "1"}, nil)
	addTool(m, "any", object(`{}`))
	p := openMemory(t, m, nil)
	for given, want := range map[string]string{"": "any {}", "null": "any {}", "\n{}\n": "any {}", `{"a":1}`: `any {"a":1}`} {
		res, err := p.CallFunction(t.Context(), "any", json.RawMessage(given))
		if got := text(t, res, err); got != want {
			t.Errorf("%q: got %q", given, got)
		}
	}
	for _, given := range []string{"[]", "1", `"a"`, "{", "{}{}", "secret words"} {
		_, err := p.CallFunction(t.Context(), "any", json.RawMessage(given))
		wrong, ok := errors.AsType[*ArgumentError](err)
		if !ok || wrong.Tool != "any" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", given, err)
		}
	}
}

func TestFunctionsFollowTheListOfTools(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(func(c *Config) { c.NoListener = true; slow(c) })
		if _, err := p.CallFunction(t.Context(), "later", nil); !errors.Is(err, ErrNoFunction) {
			t.Fatalf("before it is there: %v", err)
		}
		s.offer("later")
		p.InvalidateTools()
		if _, err := p.CallFunction(t.Context(), "later", nil); err != nil {
			t.Error(err)
		}
	})
}

func TestAFunctionIsCalledAsTheIdentityThatTheOptionsName(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		p := newServer(t, e).open(slow)
		res, err := p.CallFunction(t.Context(), "whoami", nil, WithHeader("Authorization", "Bearer alice"))
		if got := text(t, res, err); got != "Bearer alice" {
			t.Errorf("got %q", got)
		}
	})
}

func TestResultTextIsWhatAModelCanRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		res  *mcp.CallToolResult
		want string
	}{
		{nil, ""},
		{&mcp.CallToolResult{}, ""},
		{&mcp.CallToolResult{IsError: true}, "Error: the tool failed and did not say why"},
		{&mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: "no"}}}, "Error: no"},
		{&mcp.CallToolResult{StructuredContent: map[string]any{"a": 1}}, `{"a":1}`},
		{&mcp.CallToolResult{StructuredContent: 1, Content: []mcp.Content{&mcp.TextContent{Text: "one"}}}, "one"},
		{&mcp.CallToolResult{Content: []mcp.Content{
			&mcp.TextContent{Text: "see"},
			&mcp.ImageContent{MIMEType: "image/png", Data: []byte("123")},
			&mcp.AudioContent{MIMEType: "audio/wav", Data: []byte("1")},
			&mcp.ResourceLink{Name: "n", URI: "u"},
			&mcp.EmbeddedResource{Resource: &mcp.ResourceContents{Text: "inside"}},
			&mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: "b", MIMEType: "x/y", Blob: []byte("12")}},
			&mcp.EmbeddedResource{},
		}}, "see\n[image image/png, 3 bytes]\n[audio audio/wav, 1 bytes]\n[resource n: u]\ninside\n[resource b: x/y, 2 bytes]"},
	} {
		if got := ResultText(c.res); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestASessionGoesThroughAllPagesOfEveryList(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		for i := range 1200 { // more than a page of the SDK's
			name := fmt.Sprintf("more%04d", i)
			s.mcp.AddPrompt(&mcp.Prompt{Name: name}, nil)
			s.mcp.AddResource(&mcp.Resource{Name: name, URI: "test://" + name}, nil)
			s.mcp.AddResourceTemplate(&mcp.ResourceTemplate{Name: name, URITemplate: "test://" + name + "/{x}"}, nil)
		}
		err := s.open(slow).Do(t.Context(), func(ctx context.Context, s *Session) error {
			seen := make(map[string]int)
			for v, err := range s.Prompts(ctx) {
				if err != nil {
					return err
				}
				seen["prompt "+v.Name]++
			}
			for v, err := range s.Resources(ctx) {
				if err != nil {
					return err
				}
				seen["resource "+v.Name]++
			}
			for v, err := range s.ResourceTemplates(ctx) {
				if err != nil {
					return err
				}
				seen["template "+v.Name]++
			}
			for what, n := range seen {
				if n != 1 {
					t.Errorf("%s came %d times", what, n)
				}
			}
			if len(seen) != 3*1201 {
				t.Errorf("%d of %d", len(seen), 3*1201)
			}
			for range s.Prompts(ctx) {
				break // must not go on
			}
			s.Release()
			for _, err := range s.Resources(ctx) {
				if !errors.Is(err, ErrReleased) {
					t.Errorf("after Release: %v", err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
