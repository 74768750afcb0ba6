package mcpool

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/probe"
)

type proberFunc func(ctx context.Context, t probe.Target) (probe.Verdict, error)

func (f proberFunc) Probe(ctx context.Context, t probe.Target) (probe.Verdict, error) {
	return f(ctx, t)
}

func TestNoProberIsThePoolsOwnProbe(t *testing.T) {
	t.Parallel()
	if ProbeWith(nil) != nil {
		t.Error("a nil prober became a probe, which finds out nothing")
	}
}

func TestAProberSeesASessionAndCallsWhatItLists(t *testing.T) {
	t.Parallel()
	everyVersion(t, func(t *testing.T, version string) {
		s, d := newLineServer(t)
		p := openPool(t, Config{Name: "tools", Dialer: d, ProtocolVersion: version, Min: 1})
		session, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer session.Release()
		err = ProbeWith(proberFunc(func(ctx context.Context, target probe.Target) (probe.Verdict, error) {
			about := target.Describe()
			if about.Kind != "mcp" || about.Pool != "tools" || about.ID == "" || about.Attrs["protocolVersion"] != version || about.Attrs["serverName"] != "test" {
				t.Errorf("described as %+v", about)
			}
			if alive := map[bool]string{true: "server/discover", false: "ping"}[version >= "2026"]; !about.Lists(alive) {
				t.Errorf("%s is not among %q", alive, about.Methods)
			}
			for _, method := range about.Methods {
				params := map[string]string{
					"tools/call": `{"name":"echo","arguments":{"text":"hi"}}`, "prompts/get": `{"name":"greet"}`, "resources/read": `{"uri":"test://r"}`,
				}[method]
				res, err := target.Call(ctx, method, json.RawMessage(params))
				if err != nil || !json.Valid(res) {
					t.Errorf("%s: %s, %v", method, res, err)
				}
				if method == "tools/call" && !strings.Contains(string(res), `"text":"hi"`) {
					t.Errorf("%s: %s", method, res)
				}
			}
			for _, method := range []string{"logging/setLevel", "resources/subscribe", "initialize", ""} {
				if _, err := target.Call(ctx, method, nil); !errors.Is(err, probe.ErrNotListed) {
					t.Errorf("%s: %v", method, err)
				}
			}
			var answered *probe.CallError
			if _, err := target.Call(ctx, "prompts/get", json.RawMessage(`{"name":"none"}`)); !errors.As(err, &answered) {
				t.Errorf("an error of the server: %v", err)
			}
			if _, err := target.Call(ctx, "tools/call", json.RawMessage(`{"name":7}`)); err == nil {
				t.Error("params that do not fit were taken")
			}
			return probe.Verdict{Status: probe.Healthy}, nil
		}))(t.Context(), session)
		if err != nil || s.ran("echo") != 1 {
			t.Errorf("ran %d times, %v", s.ran("echo"), err)
		}
	})
}

func TestAServerWithoutPromptsListsNoneToAProber(t *testing.T) {
	t.Parallel()
	p := openPool(t, Config{Transport: InMemory(memoryServer()), Min: 1})
	session, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Release()
	if about := (&sessionTarget{session}).Describe(); about.Lists("prompts/list") || about.Lists("resources/read") || !about.Lists("tools/call") {
		t.Errorf("listed %q", about.Methods)
	}
}

func TestSessionsHaveProbeIDsOfTheirOwn(t *testing.T) {
	t.Parallel()
	_, d := newLineServer(t)
	p := openPool(t, Config{Dialer: d, Min: 2, Max: 2, ProtocolVersion: "2025-11-25"})
	seen := make(map[string]bool)
	for range 2 {
		session, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer session.Release()
		seen[(&sessionTarget{session}).Describe().ID] = true
	}
	if len(seen) != 2 {
		t.Errorf("ids %v", seen)
	}
}
