package mcpool

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// langchaingo's tools.Tool.
type toolOfLangChain interface {
	Name() string
	Description() string
	Call(ctx context.Context, input string) (string, error)
}

var _ toolOfLangChain = (*LangChainTool)(nil)

// langChain opens a pool on tools with various schemas.
func langChain(t *testing.T) (*Pool, map[string]*LangChainTool) {
	t.Helper()
	m := mcp.NewServer(&mcp.Implementation{Name: "lc", Version: "1"}, nil)
	addTool(m, "one", object(`{"q":{"type":"string"}}`))
	addTool(m, "required", object(`{"q":{"type":"string"},"n":{"type":"integer"}}`, "q"))
	addTool(m, "number", object(`{"n":{"type":"integer"}}`, "n"))
	addTool(m, "two", object(`{"a":{"type":"string"},"b":{"type":"string"}}`, "a", "b"))
	addTool(m, "odd", object(`{"a":{"type":"string"}}`, "a", "b"))
	addTool(m, "none", object(`{}`))
	addTool(m, "files.read", object(`{"__arg1":{"type":"string"}}`))
	m.AddTool(&mcp.Tool{Name: "fail", InputSchema: object(`{}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: "disk full"}}}, nil
	})
	p := openMemory(t, m, nil)
	list, err := p.LangChainTools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byTool := make(map[string]*LangChainTool)
	for _, tool := range list {
		byTool[tool.ToolName()] = tool
	}
	return p, byTool
}

func TestAnAgentGivesAnObjectOrTheOneStringThatAToolTakes(t *testing.T) {
	t.Parallel()
	_, tools := langChain(t)
	for _, c := range []struct{ tool, input, want string }{
		{"one", `{"q":"x"}`, `one {"q":"x"}`},
		{"one", ` plain words, and "quotes" `, `one {"q":"plain words, and \"quotes\""}`},
		{"one", `"quoted"`, `one {"q":"quoted"}`},
		{"one", `42`, `one {"q":"42"}`},
		{"one", "", `one {}`},
		{"one", "```json\n{\"q\":\"x\"}\n```", `one {"q":"x"}`},
		{"one", "```{\"q\":\"x\"}```", `one {"q":"x"}`},
		{"one", "```\ncode\n```", "one {\"q\":\"```\\ncode\\n```\"}"},
		{"one", `{"__arg1":"x"}`, `one {"q":"x"}`},
		{"one", `{"__arg1":"{\"q\":\"x\"}"}`, `one {"q":"x"}`},
		{"required", "x", `required {"q":"x"}`},
		{"required", `{"q":"x","n":1}`, `required {"q":"x","n":1}`},
		{"number", `{"n":1}`, `number {"n":1}`},
		{"none", "", `none {}`},
		{"none", "{}", `none {}`},
		{"files.read", `{"__arg1":"{\"q\":1}"}`, `files.read {"__arg1":"{\"q\":1}"}`},
	} {
		got, err := tools[c.tool].Call(t.Context(), c.input)
		if err != nil || got != c.want {
			t.Errorf("%s(%q): got %q (%v), want %q", c.tool, c.input, got, err, c.want)
		}
	}
}

func TestWhatAnAgentCanMendIsAResult(t *testing.T) {
	t.Parallel()
	p, tools := langChain(t)
	for _, c := range []struct{ tool, input, want string }{
		{"fail", "{}", "Error: disk full"},
		{"two", "words", "Error: mcpool: tool two: the arguments are not JSON: give one JSON object"},
		{"odd", "words", "Error: mcpool: tool odd: the arguments are not JSON: give one JSON object"},
		{"number", "1", "Error: mcpool: tool number: the arguments are not a JSON object"},
	} {
		got, err := tools[c.tool].Call(t.Context(), c.input)
		if err != nil || got != c.want {
			t.Errorf("%s(%q): got %q (%v)", c.tool, c.input, got, err)
		}
	}
	ctx, cancel := canceled(t)
	defer cancel()
	if _, err := tools["one"].Call(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tools["one"].Call(t.Context(), "x"); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestAToolThatIsGoneIsAResultForTheAgent(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		s.offer("gone")
		list, err := s.open(slow).LangChainTools(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.mcp.RemoveTools("gone")
		for _, tool := range list {
			if tool.Name() != "gone" {
				continue
			}
			if got, err := tool.Call(t.Context(), "{}"); err != nil || !strings.HasPrefix(got, "Error: ") {
				t.Errorf("got %q, %v", got, err)
			}
		}
	})
}

func TestADescriptionSaysWhatToGive(t *testing.T) {
	t.Parallel()
	_, tools := langChain(t)
	for name, want := range map[string]string{
		"one":  "does one\nInput: q as plain text, or a JSON object of this JSON schema: {",
		"two":  "does two\nInput: a JSON object of this JSON schema: {",
		"none": "does none\nInput: none, give {}",
		"fail": "Input: none, give {}",
	} {
		if got := tools[name].Description(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if n := tools["files.read"].Name(); !anyAPI.MatchString(n) {
		t.Errorf("name %q", n)
	}
}

func TestOptionsOfLangChainToolsAreThoseOfTheirCalls(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		list, err := newServer(t, e).open(slow).LangChainTools(t.Context(), WithHeader("Authorization", "Bearer alice"), WithHeader("X-Extra", "1"))
		if err != nil {
			t.Fatal(err)
		}
		for _, tool := range list {
			want := map[string]string{"whoami": "Bearer alice", "header": "1"}[tool.Name()]
			if want == "" {
				continue
			}
			if got, err := tool.Call(t.Context(), map[string]string{"whoami": "{}", "header": "X-Extra"}[tool.Name()]); err != nil || got != want {
				t.Errorf("%s: got %q, %v", tool.Name(), got, err)
			}
		}
	})
}
