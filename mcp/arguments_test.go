package mcpool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// strict adds a tool with a schema of many keywords, whose runs are counted. The
// server itself checks nothing.
func strict(m *mcp.Server) *atomic.Int32 {
	var runs atomic.Int32
	m.AddTool(&mcp.Tool{Name: "strict", InputSchema: json.RawMessage(`{
		"type": "object", "required": ["name"], "additionalProperties": false,
		"properties": {
			"name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
			"kind": {"enum": ["a", "b"]},
			"n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10, "multipleOf": 2},
			"list": {"type": "array", "minItems": 1, "maxItems": 2, "uniqueItems": true, "items": {"$ref": "#/$defs/item"}},
			"either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
			"forms": {"oneOf": [{"type": "object", "required": ["x"]}, {"type": "object", "required": ["y"]}]},
			"a/b~c": {"type": ["boolean", "null"]},
			"all": {"allOf": [{"type": "number"}, {"maximum": 5}]},
			"never": {"not": {}}
		},
		"$defs": {"item": {"type": "object", "properties": {"id": {"const": 7}}, "required": ["id"]}}
	}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		runs.Add(1)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "ran"}}}, nil
	})
	return &runs
}

func TestWrongArgumentsAreNamedAndNotSent(t *testing.T) {
	t.Parallel()
	m := mcp.NewServer(&mcp.Implementation{Name: "strict", Version: "1"}, nil)
	runs := strict(m)
	p := openMemory(t, m, func(c *Config) { c.CheckArguments = true })
	for _, c := range []struct{ args, path, problem string }{
		{`{}`, "/name", "is required"},
		{`{"name":1}`, "/name", "must be a string, not an integer"},
		{`{"name":null}`, "/name", "must be a string, not null"},
		{`{"name":"x"}`, "/name", "must have at least 2 characters"},
		{`{"name":"xxxxxx"}`, "/name", "must have at most 5 characters"},
		{`{"name":"S3CR"}`, "/name", `must match the pattern "^[a-z]+$"`},
		{`{"name":"ab","kind":"c"}`, "/kind", `must be one of "a", "b"`},
		{`{"name":"ab","n":1.5}`, "/n", "must be an integer, not a number"},
		{`{"name":"ab","n":0}`, "/n", "must be at least 1"},
		{`{"name":"ab","n":10}`, "/n", "must be less than 10"},
		{`{"name":"ab","n":3}`, "/n", "must be a multiple of 2"},
		{`{"name":"ab","list":[]}`, "/list", "must have at least 1 items"},
		{`{"name":"ab","list":[1,2,3]}`, "/list", "must have at most 2 items"},
		{`{"name":"ab","list":[{"id":7},{}]}`, "/list/1/id", "is required"},
		{`{"name":"ab","list":[{"id":8}]}`, "/list/0/id", "must be 7"},
		{`{"name":"ab","list":[{"id":7},{"id":7}]}`, "", "do not match the tool's input schema"},
		{`{"name":"ab","either":1}`, "/either", "must be a string or null"},
		{`{"name":"ab","forms":{}}`, "/forms", "matches none of the alternatives in the tool's input schema"},
		{`{"name":"ab","a/b~c":1}`, "/a~1b~0c", "must be a boolean or null, not an integer"},
		{`{"name":"ab","all":6}`, "/all", "must be at most 5"},
		{`{"name":"ab","never":6}`, "", "do not match the tool's input schema"},
		{`{"name":"ab","other":1}`, "/other", "is not known: there is a/b~c, all, either, forms, kind, list, n, name, never"},
		{`[]`, "", "must be an object, not an array"},
	} {
		_, err := p.Call(t.Context(), "strict", json.RawMessage(c.args))
		wrong, ok := errors.AsType[*ArgumentError](err)
		if !ok || wrong.Tool != "strict" || wrong.Path != c.path || wrong.Problem != c.problem {
			t.Errorf("%s: %v", c.args, err)
		} else if strings.Contains(err.Error(), "S3CR") {
			t.Errorf("the error shows a value: %v", err)
		}
	}
	if n := runs.Load(); n != 0 {
		t.Errorf("%d were sent", n)
	}
	for _, args := range []any{
		map[string]any{"name": "ab"},
		json.RawMessage(`{"name":"ab","kind":"a","n":2,"list":[{"id":7}],"either":null,"forms":{"x":1},"a/b~c":true,"all":5}`),
		struct {
			Name string `json:"name"`
			N    int    `json:"n"`
		}{"ab", 4},
	} {
		if _, err := p.Call(t.Context(), "strict", args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	if n := runs.Load(); n != 3 {
		t.Errorf("%d of 3 ran", n)
	}
}

func TestArgumentsAreCheckedOnEveryRoad(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		runs := strict(s.mcp)
		p := s.open(func(c *Config) { slow(c); c.CheckArguments, c.Min, c.Max = true, 1, 1 })
		wrong := func(road string, err error) {
			t.Helper()
			if a, ok := errors.AsType[*ArgumentError](err); !ok || a.Path != "/name" {
				t.Errorf("%s: %v", road, err)
			}
		}
		// On a session that is the only one, before anybody has listed the tools.
		if err := p.Do(t.Context(), func(ctx context.Context, s *Session) error {
			_, err := s.CallTool(ctx, callNamed("strict"))
			wrong("Session.CallTool", err)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		_, err := p.CallTool(t.Context(), callNamed("strict"))
		wrong("CallTool", err)
		_, err = p.Call(t.Context(), "strict", nil, WithIdentity(identityNamed("alice")))
		wrong("as another identity", err)
		_, err = p.CallFunction(t.Context(), "strict", nil)
		wrong("CallFunction", err)
		list, err := p.LangChainTools(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, tool := range list {
			if tool.Name() == "strict" {
				if got, err := tool.Call(t.Context(), "{}"); err != nil || got != "Error: mcpool: tool strict: argument /name is required" {
					t.Errorf("LangChainTool: %q, %v", got, err)
				}
			}
		}
		if n := runs.Load(); n != 0 {
			t.Errorf("%d were sent", n)
		}
		if st := p.Stats(); st.CallErrors != 5 {
			t.Errorf("%d errors counted, want 5", st.CallErrors)
		}
	})
}

func TestAWarmupHookMayCallAToolWhoseArgumentsAreChecked(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		runs := strict(s.mcp)
		s.open(func(c *Config) {
			slow(c)
			c.CheckArguments, c.Min, c.Max = true, 1, 1
			c.WarmupHook = func(ctx context.Context, s *Session) error {
				if _, err := s.CallTool(ctx, callNamed("strict")); err == nil {
					return errors.New("wrong arguments were taken")
				}
				_, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "strict", Arguments: map[string]any{"name": "ab"}})
				return err
			}
		})
		if runs.Load() == 0 {
			t.Error("the right ones were not sent")
		}
	})
}

func TestArgumentsAreNotCheckedUnlessAskedFor(t *testing.T) {
	t.Parallel()
	m := mcp.NewServer(&mcp.Implementation{Name: "strict", Version: "1"}, nil)
	runs := strict(m)
	p := openMemory(t, m, nil)
	if _, err := p.Call(t.Context(), "strict", nil); err != nil || runs.Load() != 1 {
		t.Errorf("%d runs, %v", runs.Load(), err)
	}
	if st := p.Stats(); st.ListFetches != 0 {
		t.Errorf("%d lists fetched for nothing", st.ListFetches)
	}
}

// schemaServer has a tool with a schema that can be changed.
func schemaServer(schema any) *mcp.Server {
	m := mcp.NewServer(&mcp.Implementation{Name: "schema", Version: "1"}, nil)
	m.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
			res, err := next(ctx, method, r)
			if list, ok := res.(*mcp.ListToolsResult); ok && schema != nil {
				for i, tool := range list.Tools {
					own := *tool
					own.InputSchema = schema
					list.Tools[i] = &own
				}
			}
			return res, err
		}
	})
	addTool(m, "t", object(`{}`))
	return m
}

func TestAToolWhoseSchemaCannotBeUsedIsNotCheckedAndThatIsLoggedOnce(t *testing.T) {
	t.Parallel()
	deep := `{"$ref":"#/$defs/d0"}`
	var defs []string
	for i := range 20 {
		defs = append(defs, fmt.Sprintf(`"d%d":{"anyOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i+1, i+1))
	}
	deep = `{"allOf":[` + deep + `],"$defs":{` + strings.Join(append(defs, `"d20":{}`), ",") + `}}`
	for name, schema := range map[string]string{
		"a pattern Go does not know":    `{"type":"object","properties":{"a":{"type":"string","pattern":"(?=x)"}}}`,
		"a reference to elsewhere":      `{"$ref":"https://example.com/schema"}`,
		"a dangling reference":          `{"$ref":"#/$defs/none"}`,
		"a reference to itself":         `{"$ref":"#"}`,
		"two that refer to each other":  `{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"anyOf":[{"$ref":"#/$defs/a"}]}}}`,
		"a loop below a property":       `{"properties":{"a":{"not":{"$ref":"#/properties/a"}}}}`,
		"one that takes for ever":       deep,
		"an anchor":                     `{"$ref":"#x","$defs":{"x":{"$anchor":"x"}}}`,
		"a dynamic reference":           `{"$dynamicRef":"#x","$defs":{"x":{"$dynamicAnchor":"x"}}}`,
		"an old version":                `{"$schema":"http://json-schema.org/draft-04/schema#","type":"object"}`,
		"no schema at all":              `[1]`,
		"a keyword of the wrong type":   `{"type":"object","required":"name"}`,
		"a subschema with its own base": `{"type":"object","properties":{"a":{"$id":"https://example.com/a","$ref":"#/x"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			p := openMemory(t, schemaServer(json.RawMessage(schema)), func(c *Config) {
				c.CheckArguments, c.Logger = true, slog.New(slog.NewTextHandler(&log, nil))
			})
			for range 3 {
				res, err := p.Call(t.Context(), "t", map[string]any{"a": "y"})
				if got := text(t, res, err); got != `t {"a":"y"}` {
					t.Errorf("got %q", got)
				}
				p.InvalidateTools()
			}
			if n := strings.Count(log.String(), "are not checked"); n != 1 {
				t.Errorf("logged %d times: %s", n, log.String())
			}
		})
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestASchemaThatRefersToItselfThroughItsPropertiesIsUsed(t *testing.T) {
	t.Parallel()
	p := openMemory(t, schemaServer(json.RawMessage(`{"type":"object","properties":{"next":{"$ref":"#"},"n":{"type":"integer"}}}`)),
		func(c *Config) { c.CheckArguments = true })
	if _, err := p.Call(t.Context(), "t", json.RawMessage(`{"next":{"next":{"n":1}}}`)); err != nil {
		t.Error(err)
	}
	_, err := p.Call(t.Context(), "t", json.RawMessage(`{"next":{"next":{"n":"x"}}}`))
	if wrong, ok := errors.AsType[*ArgumentError](err); !ok || wrong.Path != "/next/next/n" {
		t.Errorf("got %v", err)
	}
}

func TestArgumentsThatCannotBeJudgedAreLetThrough(t *testing.T) {
	t.Parallel()
	p := openMemory(t, schemaServer(nil), func(c *Config) { c.CheckArguments = true })
	if _, err := p.Call(t.Context(), "t", json.RawMessage(`{"n":1e999}`)); err != nil {
		t.Errorf("a number beyond float64: %v", err)
	}
	_, err := p.Call(t.Context(), "t", map[string]any{"f": math.Inf(1)})
	if _, ok := errors.AsType[*ArgumentError](err); err == nil || ok {
		t.Errorf("what is no JSON is for the SDK to refuse: %v", err)
	}
	if _, err = p.Call(t.Context(), "hidden", nil); err == nil {
		t.Error("a tool that is nowhere was called")
	} else if _, ok := errors.AsType[*ArgumentError](err); ok {
		t.Errorf("a tool that is not listed was judged: %v", err)
	}
}

func TestSchemasAreDroppedWithTheListTheyCameWith(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		addTool(s.mcp, "moving", object(`{"a":{"type":"string"}}`))
		p := s.open(func(c *Config) { slow(c); c.CheckArguments, c.NoListener = true, true })
		call := func() error {
			_, err := p.Call(t.Context(), "moving", map[string]any{"a": 1})
			return err
		}
		if _, ok := errors.AsType[*ArgumentError](call()); !ok {
			t.Error("the first schema was not used")
		}
		addTool(s.mcp, "moving", object(`{"a":{"type":"integer"}}`))
		if _, ok := errors.AsType[*ArgumentError](call()); !ok {
			t.Error("the list was fetched although it is still good")
		}
		p.InvalidateTools()
		if err := call(); err != nil {
			t.Errorf("the old schema is still used: %v", err)
		}
		if st := p.Stats(); st.ListFetches != 2 {
			t.Errorf("%d lists fetched", st.ListFetches)
		}
	})
}

func TestAListThatIsPastItsTimeIsNotCheckedWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mcp.NewServer(&mcp.Implementation{Name: "m", Version: "1"}, nil)
		addTool(m, "t", object(`{"a":{"type":"string"}}`))
		p, err := Open(t.Context(), Config{Transport: InMemory(m), CheckArguments: true, NoListener: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close(t.Context()) }()
		args := map[string]any{"a": 1}
		if _, err := p.Call(t.Context(), "t", args); err == nil {
			t.Error("taken")
		}
		addTool(m, "t", object(`{"a":{"type":"integer"}}`))
		time.Sleep(6 * time.Minute)
		if _, err := p.Call(t.Context(), "t", args); err != nil {
			t.Errorf("refused by a list that was too old: %v", err)
		}
	})
}

func TestArgumentChecksAreConcurrentSafe(t *testing.T) {
	t.Parallel()
	m := mcp.NewServer(&mcp.Implementation{Name: "strict", Version: "1"}, nil)
	strict(m)
	p := openMemory(t, m, func(c *Config) { c.CheckArguments, c.CallsPerSession = true, 8 })
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 20 {
				_, err := p.Call(t.Context(), "strict", map[string]any{"name": []string{"ab", "x"}[i%2]})
				if (err != nil) != (i%2 == 1) {
					t.Errorf("caller %d: %v", i, err)
				}
				if i == 0 {
					p.InvalidateTools()
				}
			}
		})
	}
	wg.Wait()
}

func FuzzArgumentsAreCheckedWithoutHarm(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"$ref":"#"}}}`, `{"a":{"a":1}}`)
	f.Add(`{"anyOf":[{"type":"string"},{"$ref":"#/$defs/x"}],"$defs":{"x":{"required":["y"]}}}`, `[]`)
	f.Add(`{"properties":{"a":{"prefixItems":[true,false],"items":{"enum":[1,null]}}}}`, `{"a":[1,2,3]}`)
	f.Fuzz(func(t *testing.T, schema, args string) {
		s, err := compile(json.RawMessage(schema))
		if err != nil {
			return
		}
		plain, ok := plainArguments(json.RawMessage(args))
		if !ok {
			return
		}
		err = s.check("t", plain)
		if err == nil {
			return
		}
		if wrong, ok := errors.AsType[*ArgumentError](err); !ok || wrong.Problem == "" {
			t.Errorf("%v", err)
		}
	})
}

func BenchmarkCheckArguments(b *testing.B) {
	m := mcp.NewServer(&mcp.Implementation{Name: "strict", Version: "1"}, nil)
	strict(m)
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("on=%v", on), func(b *testing.B) {
			p, err := Open(b.Context(), Config{Transport: InMemory(m), Min: 1, CheckArguments: on})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = p.Close(context.Background()) }()
			args := map[string]any{"name": "ab", "kind": "a", "n": 2, "list": []any{map[string]any{"id": 7}}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Call(b.Context(), "strict", args); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheckOneCall(b *testing.B) {
	schema, err := compile(object(`{"name":{"type":"string"},"kind":{"enum":["a","b"]},"n":{"type":"integer"},"list":{"type":"array","items":{"type":"object"}}}`, "name"))
	if err != nil {
		b.Fatal(err)
	}
	args := map[string]any{"name": "ab", "kind": "a", "n": 2, "list": []any{map[string]any{"id": 7}}}
	b.ReportAllocs()
	for b.Loop() {
		plain, _ := plainArguments(args)
		if err := schema.check("t", plain); err != nil {
			b.Fatal(err)
		}
	}
}
