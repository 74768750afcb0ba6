//go:build unix

package ssh

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// lone is a Config with what is required and an empty known_hosts file.
func lone(t *testing.T) Config {
	t.Helper()
	return Config{Address: "build.test", User: "u", Command: []string{"c"}, KnownHosts: []string{knownHosts(t)}, KeyFiles: []string{"/none"}}
}

func mustNew(t *testing.T, cfg Config) *Dialer {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheZeroValueOfEachFieldIsItsDefault(t *testing.T) {
	t.Parallel()
	cfg := lone(t)
	want := cfg
	want.Address = "build.test:22"
	want.DialTimeout, want.KeepAlive, want.KeepAliveTimeout = 10*time.Second, 15*time.Second, 15*time.Second
	want.StopTimeout, want.SendTimeout = time.Second, time.Minute
	if got := mustNew(t, cfg).cfg; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	cfg.Address, cfg.KeepAlive, cfg.SendTimeout = "build.test:2222", -1, -1
	if got := mustNew(t, cfg).cfg; got.Address != "build.test:2222" || got.KeepAlive != 0 || got.SendTimeout != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestKnownHostsAndTheAgentAreFoundAtHome(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("SSH_AUTH_SOCK", "/agent")
	cfg := lone(t)
	cfg.KnownHosts = nil
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "KnownHosts") {
		t.Errorf("without one at home: %v", err)
	}
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(home, ".ssh", "known_hosts")
	if err := os.WriteFile(at, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mustNew(t, cfg).cfg; !reflect.DeepEqual(got.KnownHosts, []string{at}) || got.Agent != "" {
		t.Errorf("with key files: known_hosts %q, agent %q", got.KnownHosts, got.Agent)
	}
	cfg.KeyFiles = nil
	if got := mustNew(t, cfg).cfg; got.Agent != "/agent" {
		t.Errorf("without key files the agent is %q", got.Agent)
	}
	cfg.Agent = "-"
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "KeyFiles") {
		t.Errorf("without any key: %v", err)
	}
}

func TestAConfigIsNotTheCallersAnyMore(t *testing.T) {
	t.Parallel()
	cfg := lone(t)
	d := mustNew(t, cfg)
	cfg.Command[0], cfg.KeyFiles[0], cfg.KnownHosts[0] = "x", "x", "x"
	if d.cfg.Command[0] == "x" || d.cfg.KeyFiles[0] == "x" || d.cfg.KnownHosts[0] == "x" {
		t.Errorf("changed afterwards: %+v", d.cfg)
	}
}

func TestAKeyFileThatCannotBeUsedIsNotLeftOut(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	broken := filepath.Join(s.dir, "broken")
	if err := os.WriteFile(broken, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{broken, filepath.Join(s.dir, "none")} {
		cfg := s.config("serve")
		cfg.KeyFiles = []string{s.keyFile, file}
		var fault *transport.ConfigError
		if _, err := dial(t, cfg); !errors.As(err, &fault) || fault.Field != "KeyFiles" {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestAnAgentThatDoesNotAnswerMattersOnlyWithoutKeys(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	cfg := s.config("serve")
	cfg.Agent = filepath.Join(s.dir, "none")
	hello(t, mustDial(t, cfg))
	cfg.KeyFiles = nil
	if _, err := dial(t, cfg); err == nil || !strings.Contains(err.Error(), "the agent does not answer") {
		t.Errorf("without keys: %v", err)
	}
}

// The server speaks only what nobody should.
func TestAServerWithoutACommonAlgorithmIsARefusal(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	defer func() { _ = l.Close(); <-done }()
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		signer, err := ssh.NewSignerFromSigner(key)
		if err != nil {
			t.Error(err)
			return
		}
		config := &ssh.ServerConfig{NoClientAuth: true}
		config.MACs, config.Ciphers = []string{"hmac-sha1-96"}, []string{"aes128-cbc"}
		config.AddHostKey(signer)
		_, _, _, _ = ssh.NewServerConn(c, config)
		_ = c.Close()
	}()
	cfg := lone(t)
	file := filepath.Join(t.TempDir(), "key")
	writeKey(t, file, key)
	cfg.Address, cfg.KeyFiles, cfg.Agent = l.Addr().String(), []string{file}, "-"
	cfg.KnownHosts = []string{knownHosts(t, knownhosts.Line([]string{cfg.Address}, public))}
	var refused *transport.RefusedError
	if _, err := dial(t, cfg); !errors.As(err, &refused) || !strings.Contains(err.Error(), "no algorithm in common") {
		t.Errorf("got %v", err)
	}
}

func TestADialThatHangsEnds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := lone(t)
	file := filepath.Join(t.TempDir(), "key")
	key, _ := newKey(t)
	writeKey(t, file, key)
	cfg.Address, cfg.KeyFiles, cfg.DialTimeout = l.Addr().String(), []string{file}, 20*time.Millisecond
	if _, err := dial(t, cfg); err == nil || !strings.Contains(err.Error(), "no connection within 20ms") {
		t.Errorf("got %v", err)
	}
}
