//go:build unix

package plugintest

import (
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

func eyeBinary(flaw string) BinaryOptions {
	in := func(more string, key string) host.Instance {
		cfg := map[string]any{"flaw": flaw}
		if more != "" {
			cfg[more] = true
		}
		return host.Instance{Name: "e", Config: cfg, Secrets: map[string]auth.Secret{"key": auth.NewSecret(key)}}
	}
	stalled := in("stalled", token)
	return BinaryOptions{Env: []string{"GORACE"}, Probe: &ProbeOptions[host.Instance]{
		Config: in("", token), Stalled: &stalled, Target: seen(`{"ok":true}`),
		Verdicts: []ProbeVerdict[host.Instance]{{Name: "not ok", Config: in("", token), Target: seen(`{"ok":false}`), Status: probe.Unhealthy}},
		Failures: []ProbeFailure[host.Instance]{
			{Name: "no key", Config: in("", ""), Field: "key"},
			{Name: "rejected", Config: in("reject", token), Is: auth.ErrCredentialsRejected},
		},
	}}
}

func TestABinaryOfTheKindProbePasses(t *testing.T) {
	t.Parallel()
	Binary(t, part(t, "eye"), eyeBinary(""))
}

func TestEveryFlawOfABinaryOfTheKindProbeIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ program, flaw, check, want string }{
		{"eye-brittle", "", "probe/Large", "the plugin ended by itself"},
		{"eye-forges", "", "probe/Hostile", "a line of text from outside became a record of the plugin's log"},
		{"eye-forgets", "", "probe/Kill", "a call that kill -9 hit"},
		{"eye-forgets", "", "probe/Hanging", "the call of a hanging target, again after kill -9: it did not come within"},
		{"eye", "untyped", "probe/Failures", "no *probe.ConfigError of the field key"},
		{"eye", "shows", "probe/Failures", "the error of Probe shows a secret"},
		{"eye", "panics", "probe/Verdict", "panicked"},
		{"eye", "quotes", "probe/Hostile", "the reason of the verdict holds data of the resource"},
		{"eye", "others", "probe/Alone", "when one caller's context ended, another caller's Probe returned"},
	} {
		t.Run(tt.program+" "+tt.flaw+" "+tt.check, func(t *testing.T) {
			t.Parallel()
			opts := eyeBinary(tt.flaw)
			opts.Probe.lull = lull(tt.check)
			if tt.check == "probe/Hanging" {
				opts.Probe.Patience = never
			}
			wantFault(t, record(t, binaryChecks(part(t, tt.program), opts), tt.check), tt.want)
		})
	}
}
