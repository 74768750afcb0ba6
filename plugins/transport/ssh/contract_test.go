//go:build unix

package ssh

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

// strangers is a known_hosts file that knows another key of the server.
func (s *sshd) strangers(t *testing.T) string {
	t.Helper()
	_, public := newKey(t)
	path := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(path, []byte(knownhosts.Line([]string{s.addr}, public)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// kit is the configuration whose command is the peer that plugintest talks to.
func (s *sshd) kit() Config {
	cfg := s.config("plugintest-peer")
	cfg.DialTimeout, cfg.StopTimeout = time.Hour, time.Second
	return cfg
}

func TestContract(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	open := func(_ context.Context, cfg Config) (*Dialer, error) { return New(cfg) }
	stalled, stranger, nobody := s.kit(), s.kit(), s.kit()
	stalled.Address = strings.TrimPrefix(plugintest.Silent(t), "http://")
	stranger.KnownHosts = []string{s.strangers(t)}
	nobody.User = ""
	plugintest.Transport(t, open, plugintest.TransportOptions[Config]{
		Config: s.kit(), Stalled: &stalled,
		Failures: []plugintest.TransportFailure[Config]{
			{Name: "nobody", Config: nobody, Field: "User"}, {Name: "a stranger", Config: stranger, Refused: true},
		},
	})
}

func TestTheBinaryKeepsTheContract(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	in := func(change func(cfg map[string]any)) host.Instance {
		c := s.kit()
		cfg := map[string]any{
			"address": c.Address, "user": c.User, "command": c.Command, "known_hosts": c.KnownHosts, "key_files": c.KeyFiles,
			"agent": "-", "dial_timeout": "1h",
		}
		change(cfg)
		return host.Instance{Name: "a", Config: cfg}
	}
	stalled := in(func(cfg map[string]any) { cfg["address"] = strings.TrimPrefix(plugintest.Silent(t), "http://") })
	plugintest.Binary(t, plugintest.Build(t, "./cmd/mcpool-transport-ssh"), plugintest.BinaryOptions{
		Transport: &plugintest.TransportOptions[host.Instance]{
			Config: in(func(map[string]any) {}), Stalled: &stalled,
			Failures: []plugintest.TransportFailure[host.Instance]{
				{Name: "nobody", Config: in(func(cfg map[string]any) { cfg["user"] = "" }), Field: "User"},
				{Name: "a stranger", Config: in(func(cfg map[string]any) { cfg["known_hosts"] = []string{s.strangers(t)} }), Refused: true},
			},
		},
	})
}
