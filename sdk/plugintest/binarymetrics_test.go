//go:build unix

package plugintest

import (
	"maps"
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
)

func vatBinary(t *testing.T, flaw string) BinaryOptions {
	dir := t.TempDir()
	in := func(more map[string]any, key string) host.Instance {
		cfg := map[string]any{"dir": dir, "flaw": flaw}
		maps.Copy(cfg, more)
		return host.Instance{Name: "v", Config: cfg, Secrets: map[string]auth.Secret{"key": auth.NewSecret(key)}}
	}
	stalled := in(map[string]any{"stalled": true}, token)
	return BinaryOptions{Env: []string{"GORACE"}, Metrics: &MetricsOptions[host.Instance]{
		Config: in(nil, token), Stalled: &stalled, Arrived: arrivedIn(dir),
		Failures: []MetricsFailure[host.Instance]{
			{Name: "no key", Config: in(nil, ""), Field: "key"},
			{Name: "rejected", Config: in(map[string]any{"reject": true}, token), Permanent: true, Is: auth.ErrCredentialsRejected},
		},
	}}
}

func TestABinaryOfTheKindMetricsPasses(t *testing.T) {
	t.Parallel()
	Binary(t, part(t, "vat"), vatBinary(t, ""))
}

func TestEveryFlawOfABinaryOfTheKindMetricsIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ program, flaw, check, want string }{
		{"vat-forges", "", "metrics/Hostile", "a line of text from outside became a record of the plugin's log"},
		{"vat-floods", "", "metrics/Hostile", "the plugin writes more lines to its log than a host takes"},
		{"vat-brittle", "", "metrics/Hostile", "the plugin ended by itself"},
		{"vat-once", "", "metrics/Kill", "a call that kill -9 hit"},
		{"vat", "untyped", "metrics/Failures", "no *metrics.ConfigError of the field key"},
		{"vat", "tries", "metrics/Failures", "that the error is metrics.ErrPermanent is false"},
		{"vat", "shows", "metrics/Failures", "the error of Export shows a secret"},
		{"vat", "forgets", "metrics/Arrival", "took a batch that did not arrive within"},
		{"vat", "first", "metrics/Export", "only once"},
		{"acme", "", "Describe", "BinaryOptions.Metrics is set, and the plugin is not of the kind metrics"},
		{"acme", "", "Describe", "BinaryOptions.Auth does not say how to use it"},
	} {
		t.Run(tt.program+" "+tt.flaw+" "+tt.check, func(t *testing.T) {
			t.Parallel()
			opts := vatBinary(t, tt.flaw)
			if strings.HasSuffix(tt.want, " within") {
				opts.Metrics.Patience = never
			}
			wantFault(t, record(t, binaryChecks(part(t, tt.program), opts), tt.check), tt.want)
		})
	}
}
