//go:build unix

package ssh

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshd is OpenSSH's server on loopback, for one test. Connections are accepted here, and
// each is handed to an sshd of its own, as inetd would: so there is no port to be
// guessed, and no start to be waited for.
type sshd struct {
	path, dir  string
	addr, user string
	clientKey  ed25519.PrivateKey
	hostKey    ssh.PublicKey
	keyFile    string
	known      string // a known_hosts file
	all        sync.WaitGroup

	mu      sync.Mutex
	running map[*exec.Cmd]struct{} // guarded by mu
	shut    bool                   // guarded by mu
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

func writeKey(t *testing.T, file string, key crypto.PrivateKey) {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
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
	return key, mustPublic(t, key)
}

func mustPublic(t *testing.T, key crypto.Signer) ssh.PublicKey {
	t.Helper()
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func startSSHD(t *testing.T) *sshd {
	t.Helper()
	s := &sshd{path: find(t), dir: t.TempDir(), running: make(map[*exec.Cmd]struct{})}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if s.user = me.Username; me.Uid == "0" { // where sshd separates its privileges
		_ = os.MkdirAll("/run/sshd", 0o755)
	}
	in := func(name string) string { return filepath.Join(s.dir, name) }
	hostKey, hostPublic := newKey(t)
	writeKey(t, in("host"), hostKey)
	key, public := newKey(t)
	s.clientKey, s.hostKey, s.keyFile = key, hostPublic, in("client")
	writeKey(t, s.keyFile, key)
	// With that level of nesting bash does not read the account's own ~/.bashrc, which may
	// take its time, or say something.
	config := fmt.Sprintf("HostKey %s\nAuthorizedKeysFile %s\nPidFile none\nStrictModes no\nUsePAM no\nSetEnv SHLVL=1\n"+
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n", in("host"), in("authorized"))
	for name, content := range map[string][]byte{"authorized": ssh.MarshalAuthorizedKey(public), "config": []byte(config)} {
		if err := os.WriteFile(in(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	s.known = s.knows(t, s.addr)
	s.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.all.Go(func() { s.serve(t, c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		s.shut = true
		for cmd := range s.running {
			_ = cmd.Process.Kill()
		}
		s.mu.Unlock()
		s.all.Wait()
	})
	return s
}

// alsoHas gives the server one more key.
func (s *sshd) alsoHas(t *testing.T, key crypto.Signer) {
	t.Helper()
	file := filepath.Join(s.dir, "second")
	writeKey(t, file, key)
	s.configure(t, "HostKey "+file)
}

// certify has an authority sign the server's key.
func (s *sshd) certify(t *testing.T, authority crypto.Signer, names ...string) {
	t.Helper()
	signer, err := ssh.NewSignerFromSigner(authority)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: s.hostKey, CertType: ssh.HostCert, ValidPrincipals: names, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "host-cert.pub")
	if err := os.WriteFile(file, ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	s.configure(t, "HostCertificate "+file)
}

// configure adds a line to the configuration, which each connection reads anew.
func (s *sshd) configure(t *testing.T, line string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(f, line)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// serve has an sshd serve one connection.
func (s *sshd) serve(t *testing.T, c net.Conn) {
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Errorf("a connection is no file: %v", err)
		_ = c.Close()
		return
	}
	cmd := exec.Command(s.path, "-i", "-e", "-f", filepath.Join(s.dir, "config"))
	cmd.Stdin, cmd.Stdout = f, f
	s.mu.Lock()
	if !s.shut {
		if err = cmd.Start(); err == nil {
			s.running[cmd] = struct{}{}
		} else {
			t.Errorf("sshd does not start: %v", err)
		}
	}
	started := !s.shut && err == nil
	s.mu.Unlock()
	_, _ = f.Close(), c.Close() // sshd has its own
	if !started {
		return
	}
	_ = cmd.Wait() // however it ended, the connection has
	s.mu.Lock()
	delete(s.running, cmd)
	s.mu.Unlock()
}

// knows writes a known_hosts file that knows the server at addr.
func (s *sshd) knows(t *testing.T, addr string) string {
	t.Helper()
	return knownHosts(t, knownhosts.Line([]string{knownhosts.Normalize(addr)}, s.hostKey))
}

// knownHosts writes a known_hosts file.
func knownHosts(t *testing.T, lines ...string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "known_hosts")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		fmt.Fprintln(f, line)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
