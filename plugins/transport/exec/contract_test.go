//go:build unix

package exec

import (
	"context"
	"os"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

// peer is the test binary as the peer that plugintest talks to; see TestMain.
func peer(t *testing.T) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{exe, "plugintest-peer"}
}

// snippet:begin contract
func TestContract(t *testing.T) {
	t.Parallel()
	open := func(_ context.Context, cfg Config) (*Dialer, error) { return New(cfg) }
	plugintest.Transport(t, open, plugintest.TransportOptions[Config]{
		Config: Config{Command: peer(t)},
		Failures: []plugintest.TransportFailure[Config]{
			{Name: "no command", Field: "Command"},
			{Name: "no such program", Config: Config{Command: []string{"/no/such/program"}}, Field: "Command"},
			{Name: "an attribute that is not there", Config: Config{Command: append(peer(t), "${identity.attrs.team}")}, Field: "Command"},
		},
	})
}

// snippet:end contract

func TestTheBinaryKeepsTheContract(t *testing.T) {
	t.Parallel()
	in := func(command ...string) host.Instance {
		return host.Instance{Name: "a", Config: map[string]any{"command": command}}
	}
	plugintest.Binary(t, plugintest.Build(t, "./cmd/mcpool-transport-exec"), plugintest.BinaryOptions{
		Env: []string{"PATH", "GORACE"},
		Transport: &plugintest.TransportOptions[host.Instance]{
			Config: in(peer(t)...),
			Failures: []plugintest.TransportFailure[host.Instance]{
				{Name: "no command", Config: in(), Field: "Command"},
				{Name: "no such program", Config: in("/no/such/program"), Field: "Command"},
			},
		},
	})
}
