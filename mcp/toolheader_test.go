package mcpool

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestSchemasWithWrongHeaderMarksAreRecognised(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		schema string
		fault  string // empty if there is none
	}{
		"no marks":           {`{"type":"object","properties":{"a":{"type":"string"}}}`, ""},
		"no schema":          {`null`, ""},
		"a name":             {`{"properties":{"a":{"type":"string","x-mcp-header":"Region"}}}`, ""},
		"all types":          {`{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"integer","x-mcp-header":"B"},"c":{"type":"boolean","x-mcp-header":"C"}}}`, ""},
		"deep":               {`{"properties":{"a":{"type":"object","properties":{"b":{"type":"string","x-mcp-header":"B"}}}}}`, ""},
		"a property's name":  {`{"properties":{"x-mcp-header":{"type":"string"}}}`, ""},
		"a value":            {`{"properties":{"a":{"type":"object","default":{"x-mcp-header":7},"enum":[{"x-mcp-header":7}]}}}`, ""},
		"empty":              {`{"properties":{"a":{"type":"string","x-mcp-header":""}}}`, "not the name"},
		"null":               {`{"properties":{"a":{"type":"string","x-mcp-header":null}}}`, "not the name"},
		"no text":            {`{"properties":{"a":{"type":"string","x-mcp-header":3}}}`, "not the name"},
		"a space":            {`{"properties":{"a":{"type":"string","x-mcp-header":"My Region"}}}`, "not the name"},
		"a colon":            {`{"properties":{"a":{"type":"string","x-mcp-header":"Region:"}}}`, "not the name"},
		"a line break":       {`{"properties":{"a":{"type":"string","x-mcp-header":"A\r\nB"}}}`, "not the name"},
		"not ASCII":          {`{"properties":{"a":{"type":"string","x-mcp-header":"Région"}}}`, "not the name"},
		"an object":          {`{"properties":{"a":{"type":"object","x-mcp-header":"A"}}}`, "no string"},
		"a number":           {`{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}`, "no string"},
		"several types":      {`{"properties":{"a":{"type":["string","null"],"x-mcp-header":"A"}}}`, "no string"},
		"no type":            {`{"properties":{"a":{"x-mcp-header":"A"}}}`, "no string"},
		"the whole":          {`{"type":"object","x-mcp-header":"A"}`, "no string"},
		"twice":              {`{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"A"}}}`, "twice"},
		"twice but for case": {`{"properties":{"a":{"type":"string","x-mcp-header":"Aa"},"b":{"type":"object","properties":{"c":{"type":"string","x-mcp-header":"aA"}}}}}`, "twice"},
		"in a list":          {`{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}`, "no single value"},
		"in an alternative":  {`{"anyOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}`, "no single value"},
		"in a definition":    {`{"$defs":{"d":{"type":"string","x-mcp-header":"A"}}}`, "no single value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var schema any
			if err := json.Unmarshal([]byte(c.schema), &schema); err != nil {
				t.Fatal(err)
			}
			switch err := checkHeaderMarks(schema); {
			case c.fault == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("got %v, want %q", err, c.fault)
			}
		})
	}
}

func FuzzHeaderMarks(f *testing.F) {
	f.Add(`{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}`)
	f.Add(`[{"anyOf":[{"x-mcp-header":[]}],"properties":[]}]`)
	f.Fuzz(func(t *testing.T, text string) {
		var schema any
		if json.Unmarshal([]byte(text), &schema) != nil {
			return
		}
		if err := checkHeaderMarks(schema); err != nil && !strings.Contains(text, "x-mcp-header") && !strings.Contains(text, `\u`) {
			t.Errorf("%s: %v", text, err)
		}
	})
}

// answerList has the server answer tools/list with a list of its own.
func (s *server) answerList(tools string) {
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		if json.Unmarshal(body, &m) != nil || m.Method != "tools/list" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+
			`,"result":{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":`+tools+`}}`)
		return true
	})
}

func TestToolsWithWrongHeaderMarksAreLeftOutOfLists(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(func(c *Config) { c.NoListener = true })
		s.answerList(`[{"name":"good","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}},
			{"name":"bad","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A B"}}}}]`)
		check := func(tools []*mcp.Tool, err error) {
			t.Helper()
			if err != nil || len(tools) != 1 || !names(tools)["good"] {
				t.Errorf("got %v, %v", names(tools), err)
			}
		}
		check(p.ListTools(t.Context()))
		lent, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer lent.Release()
		page, err := lent.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		check(page.Tools, nil)
	})
}
