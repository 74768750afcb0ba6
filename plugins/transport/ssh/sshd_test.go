//go:build unix

package ssh

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
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

// sshd is OpenSSH's server on loopback, for one test.
type sshd struct {
	t          *testing.T
	dir        string
	addr, user string
	clientKey  ed25519.PrivateKey
	keyFile    string
	known      string
}

// find returns sshd's path, which has to be absolute, or skips the test.
func find(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if os.Getenv("MCPOOL_REQUIRE_SSHD") == "1" {
		t.Fatal("MCPOOL_REQUIRE_SSHD is set, and sshd is not installed")
	}
	t.Skip("sshd is not installed (Debian: openssh-server)")
	return ""
}

func writeKey(t *testing.T, file, passphrase string, key ed25519.PrivateKey) {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err == nil {
		err = os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) (ed25519.PrivateKey, ssh.PublicKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

func startSSHD(t *testing.T) *sshd {
	t.Helper()
	path := find(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &sshd{t: t, dir: t.TempDir(), user: me.Username}
	if me.Uid == "0" { // where sshd separates its privileges
		_ = os.MkdirAll("/run/sshd", 0o755)
	}
	in := func(name string) string { return filepath.Join(s.dir, name) }
	hostKey, hostPublic := newKey(t)
	writeKey(t, in("host"), "", hostKey)
	key, public := newKey(t)
	s.clientKey, s.keyFile, s.known = key, in("client"), in("known_hosts")
	writeKey(t, s.keyFile, "", key)
	if err := os.WriteFile(in("authorized"), ssh.MarshalAuthorizedKey(public), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	_, port, _ := net.SplitHostPort(s.addr)
	config := fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nStrictModes no\nUsePAM no\n"+
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nMaxSessions 100\nLogLevel ERROR\n",
		port, in("host"), in("authorized"))
	if err := os.WriteFile(in("config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.known, []byte(knownhosts.Line([]string{s.addr}, hostPublic)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // for sshd
	var said bytes.Buffer
	cmd := exec.Command(path, "-D", "-e", "-f", in("config"))
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	poll(t, "sshd to listen", func() bool {
		select {
		case <-ended:
			t.Fatalf("sshd ended: %s", said.String())
		default:
		}
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return s
}

func (s *sshd) config(part string) Config {
	return Config{
		Address: s.addr, User: s.user, Command: []string{os.Args[0], "play", part},
		KnownHosts: []string{s.known}, KeyFiles: []string{s.keyFile}, Agent: "-", StopTimeout: 50 * time.Millisecond, DialTimeout: 30 * time.Second,
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
	deadline := time.Now().Add(30 * time.Second)
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
	for name, line := range map[string]string{"unknown": "", "another": knownhosts.Line([]string{s.addr}, other) + "\n"} {
		cfg := s.config("serve")
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.KnownHosts = []string{file}
		var refused *transport.RefusedError
		if _, err := dial(t, cfg); !errors.As(err, &refused) || !strings.Contains(err.Error(), "known_hosts") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysComeFromFilesAndFromAnAgent(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	other, _ := newKey(t)
	wrong := filepath.Join(s.dir, "wrong")
	writeKey(t, wrong, "", other)
	cfg := s.config("serve")
	cfg.KeyFiles = []string{wrong}
	var refused *transport.RefusedError
	if _, err := dial(t, cfg); !errors.As(err, &refused) {
		t.Errorf("the wrong key: %v", err)
	}
	locked := filepath.Join(s.dir, "locked")
	writeKey(t, locked, "open sesame", s.clientKey)
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

// frozen is a proxy that stops carrying anything when told to, and closes nothing.
func frozen(t *testing.T, to string) (addr string, freeze func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	carry := func(dst io.Writer, src io.Reader) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			select {
			case <-stop:
				return
			default:
			}
			if err != nil {
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	var mu sync.Mutex
	var lines []net.Conn
	here := make(chan net.Conn, 1)
	all.Go(func() {
		c, err := l.Accept()
		if err == nil {
			here <- c
		}
		close(here)
	})
	all.Go(func() {
		a, ok := <-here
		if !ok {
			return
		}
		b, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		mu.Lock()
		lines = []net.Conn{a, b}
		mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() { carry(a, b) })
		carry(b, a)
		both.Wait()
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range lines {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String(), func() { close(stop) }
}

func TestALineThatIsSilentlyGoneIsNoticed(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	addr, freeze := frozen(t, s.addr)
	cfg := s.config("serve")
	known, err := os.ReadFile(s.known)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(strings.TrimSpace(string(known)), " ")
	file := filepath.Join(s.dir, "known_proxy")
	if err := os.WriteFile(file, []byte(knownhosts.Normalize(addr)+" "+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Address, cfg.KnownHosts, cfg.KeepAlive, cfg.KeepAliveTimeout = addr, []string{file}, 20*time.Millisecond, 5*time.Second
	c := mustDial(t, cfg)
	hello(t, c)
	freeze()
	if _, err := c.Receive(t.Context()); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
