//go:build unix

package plugintest

import (
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
)

func tubeBinary(t *testing.T, flaw string) BinaryOptions {
	address := tubePeer(t)
	in := func(more string, key string) host.Instance {
		cfg := map[string]any{"flaw": flaw, "address": address}
		if more != "" {
			cfg[more] = true
		}
		return host.Instance{Name: "t", Config: cfg, Secrets: map[string]auth.Secret{"key": auth.NewSecret(key)}}
	}
	stalled := in("stalled", token)
	return BinaryOptions{Env: []string{"GORACE"}, Transport: &TransportOptions[host.Instance]{
		Config: in("", token), Stalled: &stalled, Open: tubeOpen(),
		Failures: []TransportFailure[host.Instance]{
			{Name: "no key", Config: in("", ""), Field: "key"},
			{Name: "rejected", Config: in("reject", token), Refused: true},
		},
	}}
}

func TestABinaryOfTheKindTransportPasses(t *testing.T) {
	t.Parallel()
	Binary(t, part(t, "tube"), tubeBinary(t, ""))
}

func TestEveryFlawOfABinaryOfTheKindTransportIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ program, flaw, check, want string }{
		{"tube-brittle", "", "transport/Pieces", "the plugin ended by itself"},
		{"tube-forges", "", "transport/Echo", "a line of text from outside became a record of the plugin's log"},
		{"tube-forgets", "", "transport/Kill", "a call that kill -9 hit"},
		{"tube-outlives", "", "transport/HostGone", "the plugin, after the end of its host: it did not return within"},
		{"tube", "lies", "transport/Sessions", "Send returned ErrNotSent for message"},
		{"tube", "resends", "transport/Once", "twice"},
		{"tube", "untyped", "transport/Failures", "no *transport.ConfigError of the field key"},
		{"tube", "shows", "transport/Failures", "the error of Dial shows a secret"},
		{"tube", "session gone", "transport/Torn", "the connection was torn, and the reason is session gone"},
	} {
		t.Run(tt.program+" "+tt.flaw+" "+tt.check, func(t *testing.T) {
			t.Parallel()
			opts := tubeBinary(t, tt.flaw)
			if strings.HasSuffix(tt.want, " within") {
				opts.Transport.Patience = never
			}
			wantFault(t, record(t, binaryChecks(part(t, tt.program), opts), tt.check), tt.want)
		})
	}
}
