package http

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

const key = "key-4711-secret"

// kitServer answers with a status, to whoever has the key.
func kitServer(t *testing.T, status int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != key {
			status = http.StatusForbidden
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte("up"))
	}))
	t.Cleanup(s.Close)
	return s.URL + "/${pool}/${id}"
}

func TestContract(t *testing.T) {
	t.Parallel()
	open := func(_ context.Context, cfg Config) (*Prober, error) { return New(cfg) }
	at := func(url string) Config {
		return Config{URL: url, Timeout: time.Hour, Headers: map[string]auth.Secret{"X-Key": auth.NewSecret(key)}}
	}
	stalled := at(plugintest.Silent(t))
	plugintest.Probe(t, open, plugintest.ProbeOptions[Config]{
		Config: at(kitServer(t, 200)), Stalled: &stalled,
		Verdicts: []plugintest.ProbeVerdict[Config]{
			{Name: "an error", Config: at(kitServer(t, 500)), Status: probe.Unhealthy},
			{Name: "nobody there", Config: at("http://127.0.0.1:1"), Status: probe.Unknown},
		},
		Failures: []plugintest.ProbeFailure[Config]{
			{Name: "no URL", Field: "URL"}, {Name: "no scheme", Config: Config{URL: "mcp.example"}, Field: "URL"},
		},
	})
}

func TestTheBinaryKeepsTheContract(t *testing.T) {
	t.Parallel()
	at := func(url string) host.Instance {
		return host.Instance{Name: "a", Config: map[string]any{"url": url, "timeout": "1h", "headers": map[string]string{"X-Key": key}}}
	}
	stalled := at(plugintest.Silent(t))
	plugintest.Binary(t, plugintest.Build(t, "./cmd/mcpool-probe-http"), plugintest.BinaryOptions{
		Probe: &plugintest.ProbeOptions[host.Instance]{
			Config: at(kitServer(t, 200)), Stalled: &stalled, Secrets: []auth.Secret{auth.NewSecret(key)},
			Verdicts: []plugintest.ProbeVerdict[host.Instance]{
				{Name: "an error", Config: at(kitServer(t, 500)), Status: probe.Unhealthy},
				{Name: "nobody there", Config: at("http://127.0.0.1:1"), Status: probe.Unknown},
			},
			Failures: []plugintest.ProbeFailure[host.Instance]{{Name: "no URL", Config: at(""), Field: "URL"}},
		},
	})
}
