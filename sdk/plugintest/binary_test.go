//go:build unix

package plugintest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
)

// part is the path of a program that play plays: the test binary under another name.
func part(t *testing.T, name string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(exe, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func acmeInstance(config map[string]any) host.Instance {
	return host.Instance{Name: "a", Config: config, Secrets: map[string]auth.Secret{"key": auth.NewSecret(token)}}
}

func acmeBinary(flaw string) BinaryOptions {
	stalled := acmeInstance(map[string]any{"stalled": true, "flaw": flaw})
	login := acmeInstance(map[string]any{"flaw": flaw})
	return BinaryOptions{Env: []string{"GORACE"}, Auth: &AuthOptions[host.Instance]{
		Config: login, Stalled: &stalled, Login: &login,
		Failures: []AuthFailure[host.Instance]{
			{Name: "no key", Config: host.Instance{Name: "a", Config: map[string]string{"flaw": flaw}}, Field: "Key"},
			{
				Name: "rejected", Config: acmeInstance(map[string]any{"reject": true, "flaw": flaw}),
				Is: auth.ErrCredentialsRejected,
			},
		},
	}}
}

func TestABinaryThatDoesWhatItShouldPasses(t *testing.T) {
	Binary(t, part(t, "acme"), acmeBinary(""))
}

func TestEveryFlawOfABinaryIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ program, flaw, check, want string }{
		{"acme-prints", "", "Describe", "--describe printed no description"},
		{"acme-prints", "", "ByHand", "run by hand, it prints to stdout"},
		{"acme-prints", "", "Start", "Nothing may be printed to stdout before sdk.Main"},
		{"acme-prints", "", "HostGone", `the first line on stdout is no handshake with a socket in`},
		{"acme-changes", "", "Describe", "--describe printed something else the second time"},
		{"acme-two-faced", "", "Start", "a host is told something else than --describe prints"},
		{"acme-idle", "", "ByHand", "it exits with 0"},
		{"acme-idle", "", "ByHand", "names neither itself (acme) nor --describe"},
		{"acme-hangs", "", "ByHand", "did not end within"},
		{"acme-mortal", "", "Signals", "terminated ended the plugin"},
		{"acme-outlives", "", "HostGone", "the plugin, after the end of its host: it did not return within"},
		{"acme-outlives", "", "Signals", "after the last Shutdown and the end of its lifeline: it did not return within"},
		{"acme-litters", "", "HostGone", "after the end of its host, the plugin left the folder that MCPOOL_RUN_DIR names"},
		{"acme-grabs", "", "Replaced", "took the folder along that MCPOOL_RUN_DIR names"},
		{"acme-talks", "", "auth/Credentials", "the plugin's log shows a secret"},
		{"acme-lonely", "", "auth/Many", "opening one of 8 instances"},
		{"acme-fragile", "", "auth/Large", "the plugin ended by itself"},
		{"acme-forgets", "", "auth/Kill", "a call that kill -9 hit"},
		{"acme-anonymous", "", "auth/Failures", "no *auth.ConfigError of the field Key"},
		{"acme", "undeclared", "auth/Credentials", `it sets the header X-Acme, and declares only ["Authorization"]`},
		{"acme", "panics", "auth/Credentials", "panic"},
		{"acme", "shows", "auth/Failures", "the error of Credentials shows a secret"},
		{"acme", "untyped", "auth/Failures", "rejected: got the error"},
		{"acme", "others", "auth/Alone", "when one caller's context ended, another caller's Credentials returned"},
	} {
		t.Run(tt.program+" "+tt.flaw+" "+tt.check, func(t *testing.T) {
			t.Parallel()
			opts := acmeBinary(tt.flaw)
			opts.Auth.lull = lull(tt.check)
			if strings.HasSuffix(tt.want, " within") { // whoever does not end never does
				opts.Auth.Patience = never
			}
			wantFault(t, record(t, binaryChecks(part(t, tt.program), opts), tt.check), tt.want)
		})
	}
}

func TestTheOptionsOfABinaryFitIt(t *testing.T) {
	t.Parallel()
	path := part(t, "acme")
	wantFault(t, record(t, binaryChecks(path, BinaryOptions{}), "Describe"), "BinaryOptions.Auth does not say how to use it")
	opts := acmeBinary("")
	opts.Auth.Config.Config = map[string]any{"no_such_field": 1}
	wantFault(t, record(t, binaryChecks(path, opts), "Describe"), "schema does not describe a configuration that works")
	wantFault(t, record(t, binaryChecks("/no/such/plugin", opts), "Describe"), "cannot be run")
}

// A struct is looked at as the plugin gets it: a duration as a string, and no secrets.
func TestAnInstanceOfABinaryMayHaveAStructForItsConfig(t *testing.T) {
	t.Parallel()
	opts := acmeBinary("")
	opts.Auth.Config.Config = acmeConfig{Pause: time.Minute}
	if rec := record(t, binaryChecks(part(t, "acme"), opts), "Describe"); rec.Failed() {
		t.Errorf("the kit said %q", rec.text())
	}
	opts.Auth.Config.Config = json.RawMessage(`{"pause":60}`)
	wantFault(t, record(t, binaryChecks(part(t, "acme"), opts), "Describe"), "schema does not describe a configuration that works")
	opts.Auth.Config.Config = "pause"
	wantFault(t, record(t, binaryChecks(part(t, "acme"), opts), "Describe"), "Config cannot be used")
}
