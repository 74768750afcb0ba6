package toolcall

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// session is a target whose tool health answers with a status.
func session(status string) plugintest.Target {
	return plugintest.Target{
		About: probe.Description{Methods: []string{"tools/call", "tools/list"}},
		Answer: func(_ context.Context, method string, _ json.RawMessage) (json.RawMessage, error) {
			if method == "tools/list" {
				return json.RawMessage(`{"tools":[{"name":"health","inputSchema":{"type":"object"}}]}`), nil
			}
			return json.RawMessage(`{"content":[],"structuredContent":{"status":"` + status + `"}}`), nil
		},
	}
}

func hash(t *testing.T) string {
	t.Helper()
	sum, err := SchemaHash(json.RawMessage(`{"type":"object"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestContract(t *testing.T) {
	t.Parallel()
	open := func(_ context.Context, cfg Config) (*Prober, error) { return New(cfg) }
	status := Expect{Path: "structuredContent.status", Value: "ok"}
	for name, cfg := range map[string]Config{
		"any answer": {Tool: "health"},
		"a status":   {Tool: "health", Timeout: time.Hour, Expect: status},
		"a schema":   {Tool: "health", Timeout: time.Hour, Expect: Expect{SchemaSHA256: hash(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugintest.Probe(t, open, plugintest.ProbeOptions[Config]{
				Config: cfg, Target: session("ok"),
				Verdicts: []plugintest.ProbeVerdict[Config]{
					{Name: "not ok", Config: Config{Tool: "health", Expect: status}, Target: session("down"), Status: probe.Unhealthy},
					{Name: "no calls", Config: cfg, Status: probe.Unknown},
				},
				Failures: []plugintest.ProbeFailure[Config]{
					{Name: "no tool", Field: "Tool"},
					{Name: "no operator", Config: Config{Tool: "t", Expect: Expect{Path: "a", Op: "~"}}, Field: "Expect.Op"},
				},
			})
		})
	}
}

func TestTheBinaryKeepsTheContract(t *testing.T) {
	t.Parallel()
	in := func(cfg map[string]any) host.Instance { return host.Instance{Name: "a", Config: cfg} }
	works := in(map[string]any{
		"tool": "health", "timeout": "1h",
		"expect": map[string]any{"path": "structuredContent.status", "value": "ok", "schema_sha256": hash(t)},
	})
	plugintest.Binary(t, plugintest.Build(t, "./cmd/mcpool-probe-toolcall"), plugintest.BinaryOptions{
		Probe: &plugintest.ProbeOptions[host.Instance]{
			Config: works, Target: session("ok"),
			Verdicts: []plugintest.ProbeVerdict[host.Instance]{
				{Name: "not ok", Config: works, Target: session("down"), Status: probe.Unhealthy},
			},
			Failures: []plugintest.ProbeFailure[host.Instance]{
				{Name: "no tool", Config: in(map[string]any{}), Field: "Tool"},
				{Name: "no operator", Config: in(map[string]any{"tool": "t", "expect": map[string]any{"path": "a", "op": "~"}}), Field: "Expect.Op"},
			},
		},
	})
}
