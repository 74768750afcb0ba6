//go:build unix

package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/examples/internal/peers"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// peer is a server of another SDK.
type peer struct {
	name string
	// command returns the program and its arguments for a way to speak: stdio, or http or
	// sse at a port.
	command func(t *testing.T, way string, port int) (path string, args, env []string)
	// The names of tools: one that waits and tells of progress, one that asks the user,
	// one that asks the model.
	slow, ask, think string
	// answer is what the user says, and answered what the tool makes of it.
	answer   map[string]any
	answered string
	oldAsk   bool // it asks on sessions of the old era only
	// versions are the protocol versions to speak over HTTP.
	versions []string
}

// peerTypeScript is the reference server of the TypeScript SDK.
var peerTypeScript = peer{
	name: "TypeScript",
	command: func(t *testing.T, way string, port int) (string, []string, []string) {
		node, script := peers.Node(t, "@modelcontextprotocol/server-everything/dist/index.js")
		way = map[string]string{"stdio": "stdio", "http": "streamableHttp", "sse": "sse"}[way]
		return node, []string{script, way}, []string{"PORT=" + strconv.Itoa(port)}
	},
	slow: "trigger-long-running-operation", think: "trigger-sampling-request",
	ask: "trigger-elicitation-request", answer: map[string]any{"name": "Ada"}, answered: "Ada",
	versions: []string{""},
}

// peerPython is a server of ours on the Python SDK.
var peerPython = peer{
	name: "Python",
	command: func(t *testing.T, way string, port int) (string, []string, []string) {
		args := []string{"testdata/server.py", way}
		if way != "stdio" {
			args = append(args, strconv.Itoa(port))
		}
		return peers.Python(t), args, nil
	},
	slow: "slow", think: "think",
	ask: "ask", answer: map[string]any{"name": "Ada"}, answered: "accept: Ada", oldAsk: true,
	versions: []string{"2025-11-25", "2026-07-28"},
}

// stdio is the peer as a child process of a pool.
func (p peer) stdio(t *testing.T) mcpool.Config {
	t.Helper()
	path, args, env := p.command(t, "stdio", 0)
	return mcpool.Config{
		Command: mcpool.Command{Path: path, Args: args, Env: append(os.Environ(), env...)},
		Min:     1, Max: 2, // interpreters are dear
		ProtocolVersion: p.versions[0],
	}
}

// server is a peer that listens, and that can be killed and started again.
type server struct {
	t    *testing.T
	peer peer
	way  string
	port int
	url  string

	mu   sync.Mutex
	cmd  *exec.Cmd // guarded by mu; nil if it does not run
	done chan struct{}
	log  *output
}

// output is what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (p peer) listen(t *testing.T, way string) *server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, peer: p, way: way, log: &output{}}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	s.url = fmt.Sprintf("http://127.0.0.1:%d/%s", s.port, map[string]string{"http": "mcp", "sse": "sse"}[way])
	t.Cleanup(s.kill)
	s.start()
	return s
}

// start runs the server until it listens. Somebody may hold the port for a moment:
// then it ends, and is started again.
func (s *server) start() {
	s.t.Helper()
	poll(s.t, "the server to listen", func() bool {
		s.mu.Lock()
		running := s.cmd != nil
		if running {
			select {
			case <-s.done:
				running = false
			default:
			}
		}
		s.mu.Unlock()
		if !running {
			s.run()
		}
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(s.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}, s.log.String)
}

func (s *server) run() {
	path, args, env := s.peer.command(s.t, s.way, s.port)
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // it is killed
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd, s.done = cmd, done
}

func (s *server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig) // it may have ended
	}
}

// kill ends the server as kill -9 does, and waits for it.
func (s *server) kill() {
	s.signal(syscall.SIGKILL)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		<-s.done
		s.cmd = nil
	}
}

// poll waits until f is true, at most as long as a test may take.
func poll(t *testing.T, what string, f func() bool, detail ...func() string) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			for _, d := range detail {
				t.Log(d())
			}
			t.Fatal("timed out waiting for " + what)
		}
		<-time.After(20 * time.Millisecond)
	}
}
