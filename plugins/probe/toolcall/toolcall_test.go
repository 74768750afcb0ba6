package toolcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if v, err := p.Probe(ctx, slow); err == nil || v.Status != probe.Unknown {
			t.Errorf("cut short: %v, %v", v, err)
		}
	})
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
	for fields, cfg := range map[string]Config{
		"Tool Timeout Expect.Latency Expect.SchemaSHA256": {Timeout: -1, Expect: Expect{Latency: -1, SchemaSHA256: "zz"}},
		"Expect.Path":            {Tool: "t", Expect: Expect{Op: "=="}},
		"Expect.Op":              {Tool: "t", Expect: Expect{Path: "a", Op: "~"}},
		"Expect.Value":           {Tool: "t", Expect: Expect{Path: "a", Op: "matches", Value: "("}},
		"Expect.Value  ":         {Tool: "t", Expect: Expect{Path: "a", Op: "<", Value: true}},
		"Expect.Value Path":      {Tool: "t", Expect: Expect{Path: "a..b", Op: "exists", Value: 1}},
		"Expect.Latency Timeout": {Tool: "t", Timeout: time.Second, Expect: Expect{Latency: time.Minute}},
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
