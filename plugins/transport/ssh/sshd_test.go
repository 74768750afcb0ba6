//go:build unix

package ssh

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func (s *sshd) config(part string) Config {
	return Config{
		Address: s.addr, User: s.user,
		// With the race detector it would wait a second before it exits.
		Command:    []string{"env", "GORACE=atexit_sleep_ms=0", os.Args[0], "play", part},
		KnownHosts: []string{s.known}, KeyFiles: []string{s.keyFile}, Agent: "-", StopTimeout: 50 * time.Millisecond, DialTimeout: 2 * time.Minute,
	}
}

func dial(t *testing.T, cfg Config) (transport.Conn, error) {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), transport.Open{})
	if err == nil {
		t.Cleanup(func() {
			if err := c.Close(context.Background(), transport.Done); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	return c, err
}

func mustDial(t *testing.T, cfg Config) transport.Conn {
	t.Helper()
	c, err := dial(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func hello(t *testing.T, c transport.Conn) {
	t.Helper()
	err := c.Send(t.Context(), []byte(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := c.Receive(t.Context()); err != nil || !strings.Contains(string(msg), `"serverInfo"`) {
		t.Fatalf("initialize: %q, %v", msg, err)
	}
	if err := c.Send(t.Context(), []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		t.Fatal(err)
	}
}

func poll(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err != nil || !strings.HasPrefix(rest, "Z")
}

func TestARemoteServerAnswers(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	for _, unwatched := range []bool{false, true} {
		cfg := s.config("serve")
		cfg.Unwatched = unwatched
		c := mustDial(t, cfg)
		hello(t, c)
		for i, size := range []int{1, 500, 300 << 10} {
			text := strings.Repeat("x", size)
			if err := c.Send(t.Context(), fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":%q}}}`, i+2, text)); err != nil {
				t.Fatal(err)
			}
			if msg, err := c.Receive(t.Context()); err != nil || !strings.Contains(string(msg), `"text":"`+text+`"`) {
				t.Errorf("%d bytes: %.200q, %v", size, msg, err)
			}
		}
	}
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	for _, unwatched := range []bool{false, true} {
		cfg := s.config("")
		cfg.Unwatched = unwatched
		cfg.Command = []string{"printf", "%s|", "it's", "$HOME `id`", `a"b\c`, "", "*\t;&"}
		c := mustDial(t, cfg)
		_, err := c.Receive(t.Context()) // no newline: not a message
		if !errors.Is(err, transport.ErrClosed) {
			t.Errorf("got %v", err)
		}
		cfg.Command = append([]string{"sh", "-c", `printf '%s|' "$@"; echo`, "sh"}, cfg.Command[2:]...)
		c = mustDial(t, cfg)
		if msg, err := c.Receive(t.Context()); err != nil || string(msg) != "it's|$HOME `id`|"+`a"b\c|`+"|*\t;&|" {
			t.Errorf("got %q, %v", msg, err)
		}
	}
}

func TestOnlyAKnownKeyIsTrusted(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	_, other := newKey(t)
	kind, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is := func(key ssh.PublicKey) string { return knownhosts.Line([]string{s.addr}, key) }
	for name, c := range map[string]struct {
		lines []string
		want  string // in the error; empty if the key is trusted
	}{
		"known":               {[]string{is(s.hostKey)}, ""},
		"known and hashed":    {[]string{hashed(s.addr, s.hostKey)}, ""},
		"one of two":          {[]string{is(other), is(s.hostKey)}, ""},
		"unknown":             {nil, "is not in known_hosts"},
		"of another host":     {[]string{knownhosts.Line([]string{"elsewhere.test:22"}, s.hostKey)}, "is not in known_hosts"},
		"of another port":     {[]string{knownhosts.Line([]string{"127.0.0.1:1"}, s.hostKey)}, "is not in known_hosts"},
		"another":             {[]string{is(other)}, "somebody may be listening in"},
		"another and hashed":  {[]string{hashed(s.addr, other)}, "somebody may be listening in"},
		"of another kind":     {[]string{is(mustPublic(t, kind))}, "no key of a kind that known_hosts has"},
		"revoked":             {[]string{"@revoked * " + keyOf(s.hostKey), is(s.hostKey)}, "somebody may be listening in"},
		"revoked, and second": {[]string{is(s.hostKey), "@revoked * " + keyOf(s.hostKey)}, "somebody may be listening in"},
	} {
		cfg := s.config("serve")
		cfg.KnownHosts = []string{knownHosts(t, c.lines...)}
		trusts(t, name, cfg, c.want)
	}
}

// trusts checks that a server is refused with certain words, or trusted if they are
// none.
func trusts(t *testing.T, name string, cfg Config, words string) {
	t.Helper()
	c, err := dial(t, cfg)
	var refused *transport.RefusedError
	switch {
	case words == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case words == "":
		hello(t, c)
	case !errors.As(err, &refused) || !strings.Contains(err.Error(), words):
		t.Errorf("%s: %v", name, err)
	}
}

// keyOf is a key as known_hosts has it.
func keyOf(key ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) }

func hashed(addr string, key ssh.PublicKey) string {
	return knownhosts.HashHostname(knownhosts.Normalize(addr)) + " " + keyOf(key)
}

func TestTheServerIsAskedForTheKeyThatIsKnown(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second := mustPublic(t, key)
	s.alsoHas(t, key)
	for _, known := range []ssh.PublicKey{s.hostKey, second} {
		cfg := s.config("serve")
		cfg.KnownHosts = []string{knownHosts(t, knownhosts.Line([]string{s.addr}, known))}
		c, err := dial(t, cfg)
		if err != nil {
			t.Errorf("with a %s key: %v", known.Type(), err)
			continue
		}
		hello(t, c)
	}
}

func TestAnAuthorityOfKnownHostsIsBelieved(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	authority, public := newKey(t)
	stranger, _ := newKey(t)
	s.certify(t, authority, "127.0.0.1")
	line := "@cert-authority " + knownhosts.Normalize(s.addr) + " "
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"the authority":                   {[]string{line + keyOf(public)}, ""},
		"the key, and no authority":       {[]string{knownhosts.Line([]string{s.addr}, s.hostKey)}, ""},
		"the authority, which is revoked": {[]string{line + keyOf(public), "@revoked * " + keyOf(public)}, "known_hosts vouches for"},
		"the key of the host is revoked":  {[]string{line + keyOf(public), "@revoked * " + keyOf(s.hostKey)}, "known_hosts vouches for"},
		"the authority, and an old key":   {[]string{line + keyOf(public), knownhosts.Line([]string{s.addr}, mustPublic(t, stranger))}, ""},
		"another authority":               {[]string{line + keyOf(mustPublic(t, stranger))}, "known_hosts vouches for"},
		"an authority for another host":   {[]string{"@cert-authority elsewhere.test " + keyOf(public)}, "known_hosts vouches for"},
	} {
		cfg := s.config("serve")
		cfg.KnownHosts = []string{knownHosts(t, c.lines...)}
		trusts(t, name, cfg, c.want)
	}
}

func TestKeysComeFromFilesAndFromAnAgent(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	other, _ := newKey(t)
	wrong := filepath.Join(s.dir, "wrong")
	writeKey(t, wrong, other)
	cfg := s.config("serve")
	cfg.KeyFiles = []string{wrong}
	var refused *transport.RefusedError
	if _, err := dial(t, cfg); !errors.As(err, &refused) {
		t.Errorf("the wrong key: %v", err)
	}
	locked := filepath.Join(s.dir, "locked")
	writeKey(t, locked, s.clientKey)
	// OpenSSH's own program locks it, and is told to make that cheap.
	lock := exec.Command("ssh-keygen", "-q", "-p", "-a", "1", "-P", "", "-N", "open sesame", "-f", locked)
	if out, err := lock.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cfg.KeyFiles = []string{locked}
	var fault *transport.ConfigError
	if _, err := dial(t, cfg); !errors.As(err, &fault) {
		t.Errorf("without the passphrase: %v", err)
	}
	cfg.Passphrase = auth.NewSecret("open sesame")
	hello(t, mustDial(t, cfg))

	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: s.clientKey}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _ = agent.ServeAgent(ring, c); _ = c.Close() })
		}
	})
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = l.Close() })
	cfg.KeyFiles, cfg.Agent = nil, filepath.Join(dir, "s")
	hello(t, mustDial(t, cfg))
	// One does not stand in the way of the other.
	cfg.KeyFiles = []string{wrong}
	hello(t, mustDial(t, cfg))
	if err := ring.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	if err := ring.Add(agent.AddedKey{PrivateKey: other}); err != nil {
		t.Fatal(err)
	}
	cfg.KeyFiles = []string{s.keyFile}
	hello(t, mustDial(t, cfg))
}

func TestTheRemoteProcessIsGoneWhenTheSessionIs(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	for _, how := range []string{"closed", "cut"} {
		for _, unwatched := range []bool{false, true} {
			if unwatched && (how == "cut" || os.Getuid() == 0) {
				continue // that is what the watch is for; and for root, sshd passes no signals on
			}
			cfg := s.config("stubborn")
			cfg.Unwatched = unwatched
			c := mustDial(t, cfg)
			msg, err := c.Receive(t.Context())
			var pids []int
			if err != nil || json.Unmarshal(msg, &pids) != nil || len(pids) != 2 {
				t.Fatalf("%q, %v", msg, err)
			}
			if how == "cut" {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				_, _ = c.Receive(ctx) // cuts the line
			} else if err := c.Close(t.Context(), transport.Done); err != nil {
				t.Error(err)
			}
			poll(t, fmt.Sprintf("%s, unwatched %v: the processes to be gone", how, unwatched), func() bool { return !running(pids[0]) && !running(pids[1]) })
		}
	}
}

func TestAConnectionIsClosedUnderItsSender(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	for name, size := range map[string]int{"a line in motion": 100, "a line that is stuck": 4 << 20} {
		c := mustDial(t, s.config("stubborn")) // which does not read
		begun, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			message := bytes.Repeat([]byte("x"), size)
			for n := 0; ; n++ {
				if n == 3 || size > 1<<20 && n == 0 {
					close(begun)
				}
				if err := c.Send(context.Background(), message); err != nil {
					ended <- err
					return
				}
			}
		}()
		<-begun
		if err := c.Close(t.Context(), transport.Done); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-ended; !errors.Is(err, transport.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProgramThatDiesIsNamedWithItsLastWords(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	for _, unwatched := range []bool{false, true} {
		cfg := s.config("crash")
		cfg.StopTimeout = time.Minute // how long its status and its last words may take
		cfg.Unwatched = unwatched
		_, err := mustDial(t, cfg).Receive(t.Context())
		var closed *transport.CloseError
		if !errors.As(err, &closed) || closed.Reason != transport.PeerGone || !strings.Contains(err.Error(), "status 3") || !strings.Contains(err.Error(), "the config is wrong") {
			t.Errorf("unwatched %v: %v", unwatched, err)
		}
	}
	c := mustDial(t, s.config("half"))
	if msg, err := c.Receive(t.Context()); err != nil || string(msg) != "{}" {
		t.Errorf("%q, %v", msg, err)
	}
	if msg, err := c.Receive(t.Context()); !errors.Is(err, transport.ErrClosed) || msg != nil {
		t.Errorf("half a message: %q, %v", msg, err)
	}
}
