//go:build unix

package bearer

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

func open(_ context.Context, cfg Config) (*Provider, error) { return New(cfg) }

// sleeper is a command that prints no token for an hour.
func sleeper(t *testing.T) []string {
	t.Helper()
	path, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	return []string{path, "3600"}
}

func TestContract(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"token":   {Token: auth.NewSecret(token)},
		"file":    {File: file},
		"command": {Command: Command{Args: []string{"/bin/echo", token}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugintest.Auth(t, open, plugintest.AuthOptions[Config]{
				Config:  cfg,
				Stalled: &Config{Command: Command{Args: sleeper(t)}},
				Failures: []plugintest.AuthFailure[Config]{
					{Name: "nothing", Field: "Token, File or Command"},
					{Name: "no file", Config: Config{File: "/no/such/file"}, Field: "File"},
					{Name: "no token", Config: Config{Command: Command{Args: []string{"/bin/echo"}}}},
				},
				Secrets: []auth.Secret{auth.NewSecret(token)},
			})
		})
	}
}

func TestTheBinaryKeepsTheContract(t *testing.T) {
	t.Parallel()
	in := func(cfg any) host.Instance { return host.Instance{Name: "a", Config: cfg} }
	good := in(nil)
	good.Secrets = map[string]auth.Secret{"token": auth.NewSecret(token)}
	stalled := in(map[string]any{"command": map[string]any{"args": sleeper(t)}})
	plugintest.Binary(t, plugintest.Build(t, "./cmd/mcpool-auth-bearer"), plugintest.BinaryOptions{
		Auth: &plugintest.AuthOptions[host.Instance]{
			Config: good, Stalled: &stalled,
			Failures: []plugintest.AuthFailure[host.Instance]{
				{Name: "nothing", Config: in(nil), Field: "Token, File or Command"},
				{Name: "no token", Config: in(map[string]any{"command": map[string]any{"args": []string{"/bin/echo"}}})},
			},
		},
	})
}
