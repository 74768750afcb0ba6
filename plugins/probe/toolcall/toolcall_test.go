package toolcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/probe"
)

// server answers like a session.
type server struct {
	methods []string
	answer  func(ctx context.Context, method string, params json.RawMessage) (string, error)
}

func (s *server) Describe() probe.Description {
	return probe.Description{Kind: "mcp", Methods: s.methods}
}

func (s *server) Call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	text, err := s.answer(ctx, method, params)
	return json.RawMessage(text), err
}

func answering(text string, err error) *server {
	return &server{[]string{"tools/call", "tools/list"}, func(context.Context, string, json.RawMessage) (string, error) { return text, err }}
}

func must(t *testing.T, cfg Config) *Prober {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheAnswerIsComparedWithTheExpectation(t *testing.T) {
	t.Parallel()
	const answer = `{"content":[{"type":"text","text":"up 5 days"}],"structuredContent":{"ok":true,"load":0.5,"tags":["a","b"],"a.b":null,"n":12345678901}}`
	for _, c := range []struct {
		path, op string
		value    any
		healthy  bool
	}{
		{"structuredContent.ok", "", true, true},
		{"structuredContent.ok", "==", false, false},
		{"$.structuredContent.ok", "!=", false, true},
		{"structuredContent.load", "<", 1, true},
		{"structuredContent.load", "<", 0.5, false},
		{"structuredContent.load", "<=", 0.5, true},
		{"structuredContent.load", ">", 0.5, false},
		{"structuredContent.load", ">=", 0.5, true},
		{"structuredContent.load", "<", "1", false}, // a number is no string
		{"structuredContent.n", "==", 12345678901, true},
		{"structuredContent.tags", "contains", "b", true},
		{"structuredContent.tags", "contains", "c", false},
		{"structuredContent.tags", "==", []string{"a", "b"}, true},
		{"structuredContent.tags[1]", "==", "b", true},
		{"structuredContent.tags[2]", "exists", nil, false},
		{"structuredContent.tags[2]", "absent", nil, true},
		{"structuredContent.tags[2]", "!=", "b", false}, // what is not there is not another
		{`structuredContent["a.b"]`, "exists", nil, true},
		{`structuredContent["a.b"]`, "==", nil, true},
		{"structuredContent.none", "==", nil, false},
		{"content[0].text", "contains", "5 days", true},
		{"content[0].text", "matches", `^up \d+ days$`, true},
		{"content[0].text", "matches", `^down`, false},
		{"content[0].text", ">=", "up", true},
		{"content.text", "exists", nil, false},
		{"structuredContent.ok", "matches", "true", false},
		{"structuredContent.none", "contains", "", false},
		{"structuredContent.none", ">=", 0, false},
		{"content[0].text", "<", 1, false},
		{"structuredContent.ok", "<=", 0, false}, // neither is
	} {
		v, err := must(t, Config{Tool: "health", Expect: Expect{Path: c.path, Op: c.op, Value: c.value}}).Probe(t.Context(), answering(answer, nil))
		if want := map[bool]probe.Status{true: probe.Healthy, false: probe.Unhealthy}[c.healthy]; err != nil || v.Status != want {
			t.Errorf("%s %s %v: %v, %v", c.path, c.op, c.value, v, err)
		}
	}
}

func TestAFailureIsToldFromNotKnowing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		target *server
		want   probe.Status
	}{
		"healthy":          {answering(`{"content":[]}`, nil), probe.Healthy},
		"the tool fails":   {answering(`{"isError":true,"content":[{"type":"text","text":"a secret"}]}`, nil), probe.Unhealthy},
		"an error":         {answering("", &probe.CallError{Code: -32602, Message: "a secret"}), probe.Unhealthy},
		"no connection":    {answering("", errors.New("a secret")), probe.Unhealthy},
		"no JSON":          {answering("<html>", nil), probe.Unhealthy},
		"another resource": {&server{methods: []string{"ping"}}, probe.Unknown},
		"not listed":       {answering("", fmt.Errorf("x: %w", probe.ErrNotListed)), probe.Unknown},
	} {
		v, err := must(t, Config{Tool: "health"}).Probe(t.Context(), c.target)
		if err != nil || v.Status != c.want || strings.Contains(v.Reason, "secret") {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

func TestTimeDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := answering("", nil)
		var takes time.Duration
		slow.answer = func(ctx context.Context, _ string, _ json.RawMessage) (string, error) {
			select {
			case <-time.After(takes):
				return "{}", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		p := must(t, Config{Tool: "health", Timeout: 2 * time.Second, Expect: Expect{Latency: time.Second}})
		for _, c := range []struct {
			takes time.Duration
			want  probe.Status
		}{{time.Second, probe.Healthy}, {time.Second + 1, probe.Degraded}, {2*time.Second - 1, probe.Degraded}, {3 * time.Second, probe.Unhealthy}} {
			takes = c.takes
			if v, err := p.Probe(t.Context(), slow); err != nil || v.Status != c.want {
				t.Errorf("after %v: %v, %v", c.takes, v, err)
			}
		}
		// What ends from outside says nothing of the target.
		takes = time.Hour
		why := errors.New("why")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer cancel()
		if v, err := p.Probe(ctx, slow); !errors.Is(err, why) || v.Status != probe.Unknown {
			t.Errorf("cut short: %v, %v", v, err)
		}
		// Whatever the target says of it, there was no answer in time.
		late := answering("", nil)
		late.answer = func(ctx context.Context, _ string, _ json.RawMessage) (string, error) {
			<-ctx.Done()
			return "", fmt.Errorf("the call was given up: %w", probe.ErrNotListed)
		}
		if v, err := p.Probe(t.Context(), late); err != nil || v != (probe.Verdict{Status: probe.Unhealthy, Reason: "no answer within 2s"}) {
			t.Errorf("no answer: %v, %v", v, err)
		}
		began := time.Now()
		if v, err := must(t, Config{Tool: "health"}).Probe(t.Context(), late); err != nil || v.Status != probe.Unhealthy || time.Since(began) != 3*time.Second {
			t.Errorf("no answer: %v, %v after %v", v, err, time.Since(began))
		}
	})
}

func TestTheCallIsWhatTheConfigSaysFromTheStart(t *testing.T) {
	t.Parallel()
	cfg := Config{Tool: "health", Arguments: map[string]any{"deep": true}}
	for want, p := range map[string]*Prober{
		`{"arguments":{},"name":"health"}`:            must(t, Config{Tool: "health"}),
		`{"arguments":{"deep":true},"name":"health"}`: must(t, cfg),
	} {
		delete(cfg.Arguments, "deep")
		target, got := answering("", nil), ""
		target.answer = func(_ context.Context, _ string, params json.RawMessage) (string, error) {
			got = string(params)
			return "{}", nil
		}
		if v, err := p.Probe(t.Context(), target); err != nil || v.Status != probe.Healthy || got != want {
			t.Errorf("%v, %v, called with %s, want %s", v, err, got, want)
		}
	}
}

func TestBothSchemasOfAToolCount(t *testing.T) {
	t.Parallel()
	hash := func(input, output string) string {
		sum, err := SchemaHash(json.RawMessage(input), json.RawMessage(output))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	if a, b := hash(`{}`, `{"x":1}`), hash(`{}`, `{"x":2}`); a == b {
		t.Error("two schemas of the result have one sum")
	}
	if a, b := hash(`{"x":1}`, ``), hash(``, `{"x":1}`); a == b {
		t.Error("what is taken and what is given back have one sum")
	}
	if _, err := SchemaHash(json.RawMessage(`{`), nil); err == nil {
		t.Error("a schema that is no JSON has a sum")
	}
}

func TestPathsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]any{
		"a.b[0]": {"a", "b", 0}, "$.a": {"a"}, `$["a.b"].c`: {"a.b", "c"}, `["a"]["b"][7]`: {"a", "b", 7}, "a[2147483647]": {"a", 1<<31 - 1},
	} {
		if got, err := parsePath(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "$", "a..b", "a.", ".[", "a[0]bc", `a["b"]cd`, `["a"`, `["a"x`, `["a`, "a[0", "a[-1]", "a[x]", "a[2147483648]"} {
		if got, err := parsePath(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestAListThatHangsOrNeverEndsIsNoAnswer(t *testing.T) {
	cfg := Config{Tool: "health", Timeout: 2 * time.Second, Expect: Expect{SchemaSHA256: strings.Repeat("0", 64)}}
	for name, answer := range map[string]func(context.Context, string, json.RawMessage) (string, error){
		"hangs": func(ctx context.Context, _ string, _ json.RawMessage) (string, error) {
			select {
			case <-time.After(time.Hour):
				return `{"tools":[]}`, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		},
		"says the same again": func(ctx context.Context, _ string, _ json.RawMessage) (string, error) {
			time.Sleep(time.Millisecond)
			return `{"tools":[],"nextCursor":"again"}`, ctx.Err()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, target := time.Now(), answering("", nil)
			target.answer = answer
			v, err := must(t, cfg).Probe(t.Context(), target)
			if took := time.Since(began); err != nil || v.Status != probe.Unhealthy || took > cfg.Timeout || name != "hangs" && took > time.Second {
				t.Errorf("%s: %v, %v after %v", name, v, err, took)
			}
		})
	}
}

// Pages that come at once may have no end, and each is another.
func TestAListWithoutEndIsNotReadPastItsTime(t *testing.T) {
	t.Parallel()
	target, pages, late := answering("", nil), 0, 0
	target.answer = func(ctx context.Context, _ string, _ json.RawMessage) (string, error) {
		pages++
		if ctx.Err() != nil {
			late++
		}
		if late > 10 {
			return `{}`, nil
		}
		return fmt.Sprintf(`{"tools":[],"nextCursor":"%d"}`, pages), nil
	}
	cfg := Config{Tool: "health", Timeout: 20 * time.Millisecond, Expect: Expect{SchemaSHA256: strings.Repeat("0", 64)}}
	v, err := must(t, cfg).Probe(t.Context(), target)
	if err != nil || v.Status != probe.Unhealthy || late > 1 {
		t.Errorf("%v, %v, and %d pages when the time was up", v, err, late)
	}
}

func TestTheSchemasAreComparedOnEveryPage(t *testing.T) {
	t.Parallel()
	sum, err := SchemaHash(json.RawMessage(`{"type":"object", "properties":{"b":{},"a":{}}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	calls := ""
	target := answering("", nil)
	target.answer = func(_ context.Context, method string, params json.RawMessage) (string, error) {
		calls += method + string(params) + " "
		switch {
		case method == "tools/call":
			return "{}", nil
		case len(params) == 0:
			return `{"tools":[{"name":"other","inputSchema":{}}],"nextCursor":"2"}`, nil
		default:
			return `{"tools":[{"name":"health","inputSchema":{"properties":{"a":{},"b":{}},"type":"object"}}]}`, nil
		}
	}
	cfg := Config{Tool: "health", Arguments: map[string]any{"deep": true}, Expect: Expect{SchemaSHA256: strings.ToUpper(sum)}}
	if v, err := must(t, cfg).Probe(t.Context(), target); err != nil || v.Status != probe.Healthy {
		t.Errorf("%v, %v", v, err)
	}
	if want := `tools/list tools/list{"cursor":"2"} tools/call{"arguments":{"deep":true},"name":"health"} `; calls != want {
		t.Errorf("called %s", calls)
	}
	cfg.Expect.SchemaSHA256 = strings.Repeat("0", 64)
	if v, err := must(t, cfg).Probe(t.Context(), target); err != nil || v.Status != probe.Unhealthy || !strings.Contains(v.Reason, sum) {
		t.Errorf("another schema: %v, %v", v, err)
	}
	cfg.Tool = "gone"
	if v, err := must(t, cfg).Probe(t.Context(), target); err != nil || v.Status != probe.Unhealthy {
		t.Errorf("no such tool: %v, %v", v, err)
	}
}

func TestEveryFaultOfAConfigIsNamed(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{Tool: "t", Timeout: time.Second, Expect: Expect{Latency: time.Second}}); err != nil {
		t.Errorf("a bound of Timeout: %v", err)
	}
	for fields, cfg := range map[string]Config{
		"Tool Timeout Expect.Latency Expect.SchemaSHA256": {Timeout: -1, Expect: Expect{Latency: -1, SchemaSHA256: "zz"}},
		"Expect.Path":            {Tool: "t", Expect: Expect{Op: "=="}},
		"Expect.Op":              {Tool: "t", Expect: Expect{Path: "a", Op: "~"}},
		"Expect.Value":           {Tool: "t", Expect: Expect{Path: "a", Op: "matches", Value: "("}},
		"Expect.Value  ":         {Tool: "t", Expect: Expect{Path: "a", Op: "<", Value: true}},
		"Expect.Value Path":      {Tool: "t", Expect: Expect{Path: "a..b", Op: "exists", Value: 1}},
		"Expect.Latency Timeout": {Tool: "t", Timeout: time.Second, Expect: Expect{Latency: time.Minute}},
		"Expect.Path ":           {Tool: "t", Expect: Expect{Value: 1}},
		"Timeout":                {Tool: "t", Timeout: -1},
		"Expect.SchemaSHA256":    {Tool: "t", Expect: Expect{SchemaSHA256: "00"}},
		"Arguments":              {Tool: "t", Arguments: map[string]any{"f": func() {}}},
	} {
		_, err := New(cfg)
		for field := range strings.FieldsSeq(fields) {
			if err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%s is not named in %v", field, err)
			}
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{"a.b[0]", `$["a.b"].c`, "[", "a[99999999999]", `["`, `a["\u0041"]`, "a..b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := parsePath(text)
		if err == nil && len(path) == 0 {
			t.Error("a path that leads nowhere")
		}
		follow(map[string]any{"a": []any{1.0}}, path)
	})
}
