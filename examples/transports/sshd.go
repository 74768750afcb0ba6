package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// errNoSSHD says that there is no sshd here.
var errNoSSHD = errors.New("sshd is not installed (Debian: openssh-server)")

// sshd is OpenSSH's server on loopback with keys of its own: nothing of the machine's
// configuration is used. Connections are accepted here, and each is handed to an
// sshd of its own, as inetd would; so there is no port to be guessed and no start to be
// waited for.
type sshd struct {
	path, dir string
	user      string
	keyFile   string
	hostKey   ssh.PublicKey
	l         net.Listener
	all       sync.WaitGroup

	mu      sync.Mutex
	running map[*exec.Cmd]struct{} // guarded by mu
	shut    bool                   // guarded by mu
}

func findSSHD() (string, error) {
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"} { // it wants its whole path
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errNoSSHD
}

func startSSHD(ctx context.Context, dir string) (*sshd, error) {
	path, err := findSSHD()
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	if me.Uid == "0" { // where it separates its privileges
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // as the distribution has it
			return nil, err
		}
	}
	s := &sshd{path: path, dir: dir, user: me.Username, keyFile: filepath.Join(dir, "client"), running: make(map[*exec.Cmd]struct{})}
	if s.hostKey, err = newKey(filepath.Join(dir, "host")); err != nil {
		return nil, err
	}
	mine, err := newKey(s.keyFile)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("HostKey %s\nAuthorizedKeysFile %s\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"+
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel ERROR\n", filepath.Join(dir, "host"), filepath.Join(dir, "authorized"))
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "authorized"), ssh.MarshalAuthorizedKey(mine), 0o600),
		os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600))
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, path, "-t", "-f", filepath.Join(dir, "config")).CombinedOutput(); err != nil { //nolint:gosec // sshd
		return nil, fmt.Errorf("sshd does not take its configuration: %w: %s", err, bytes.TrimSpace(out))
	}
	if s.l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.all.Go(s.accept)
	return s, nil
}

// newKey writes a new private key to a file and returns the public one.
func newKey(file string) (ssh.PublicKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(key.Public())
}

func (s *sshd) addr() string { return s.l.Addr().String() }

// known writes a known_hosts file that knows the server at addr.
func (s *sshd) known(name, addr string) (string, error) {
	file := filepath.Join(s.dir, name)
	return file, os.WriteFile(file, []byte(knownhosts.Line([]string{addr}, s.hostKey)+"\n"), 0o600)
}

func (s *sshd) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.all.Go(func() { s.serve(c) })
	}
}

// serve has an sshd serve one connection.
func (s *sshd) serve(c net.Conn) {
	defer c.Close() //nolint:errcheck // sshd has it
	line, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	f, err := line.File()
	if err != nil {
		return
	}
	cmd := exec.CommandContext(context.Background(), s.path, "-i", "-e", "-f", filepath.Join(s.dir, "config")) //nolint:gosec // sshd
	cmd.Stdin, cmd.Stdout = f, f
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		_ = f.Close()
		return
	}
	err = cmd.Start()
	s.running[cmd] = struct{}{}
	s.mu.Unlock()
	_, _ = f.Close(), c.Close() // sshd has its own
	if err == nil {
		_ = cmd.Wait() // however it ended, the connection has
	}
	s.mu.Lock()
	delete(s.running, cmd)
	s.mu.Unlock()
}

func (s *sshd) close() {
	_ = s.l.Close()
	s.mu.Lock()
	s.shut = true
	for cmd := range s.running {
		if cmd.Process != nil {
			_ = cmd.Process.Kill() // it may be gone
		}
	}
	s.mu.Unlock()
	s.all.Wait()
}
