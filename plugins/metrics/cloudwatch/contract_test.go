//go:build unix

package poolcloudwatch

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

// has tells whether a metric has ever arrived.
func (e *endpoint) has(metric string) bool {
	name := camel(strings.TrimPrefix(metric, "plugintest."))
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.requests, func(r request) bool {
		return slices.ContainsFunc(r.data, func(d sent) bool { return d.name == name })
	})
}

// refusing is an endpoint that takes nothing.
func refusing(t *testing.T, status int, code string) *endpoint {
	t.Helper()
	e := newEndpoint(t)
	e.refuseWith(status, slices.Repeat([]string{code}, 1000)...)
	return e
}

func TestTheSinkKeepsItsContract(t *testing.T) {
	e := newEndpoint(t)
	config := func(e *endpoint, change func(*Config)) Config {
		cfg := e.config()
		cfg.Prefix, cfg.All = "plugintest.", true
		if change != nil {
			change(&cfg)
		}
		return cfg
	}
	stalled := config(e, func(c *Config) { c.Endpoint = plugintest.Silent(t) })
	plugintest.Metrics(t, New, plugintest.MetricsOptions[Config]{
		Config: config(e, nil), Stalled: &stalled, Arrived: e.has,
		Failures: []plugintest.MetricsFailure[Config]{
			{Name: "a namespace of Amazon's", Config: config(e, func(c *Config) { c.Namespace = "AWS/Lambda" }), Field: "Namespace"},
			{Name: "no region", Config: config(e, func(c *Config) { c.Region = "" }), Field: "Region"},
			{Name: "no permission", Config: config(refusing(t, 403, "AccessDenied"), nil), Permanent: true},
			{Name: "throttled", Config: config(refusing(t, 400, "ThrottlingException"), nil)},
		},
		Secrets: []auth.Secret{auth.NewSecret(secret)},
	})
}

func TestTheBinaryKeepsItsContract(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", keyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_REGION", region)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_MAX_ATTEMPTS", "1") // who calls the sink tries again
	e := newEndpoint(t)
	in := func(url string, more map[string]any) host.Instance {
		cfg := map[string]any{"endpoint": url, "prefix": "plugintest.", "all": true}
		maps.Copy(cfg, more)
		return host.Instance{Name: "a", Config: cfg}
	}
	stalled := in(plugintest.Silent(t), nil)
	plugintest.Binary(t, plugintest.Build(t, "./cmd/mcpool-metrics-cloudwatch"), plugintest.BinaryOptions{
		Env: host.EnvAWS(),
		Metrics: &plugintest.MetricsOptions[host.Instance]{
			Config: in(e.http.URL, nil), Stalled: &stalled, Arrived: e.has,
			Failures: []plugintest.MetricsFailure[host.Instance]{
				{Name: "a namespace of Amazon's", Config: in(e.http.URL, map[string]any{"namespace": "AWS/Lambda"}), Field: "Namespace"},
				{Name: "no permission", Config: in(refusing(t, 403, "AccessDenied").http.URL, nil), Permanent: true},
				{Name: "throttled", Config: in(refusing(t, 400, "ThrottlingException").http.URL, nil)},
			},
			Secrets: []auth.Secret{auth.NewSecret(secret)},
		},
	})
}
