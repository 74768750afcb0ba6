package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

var _ runner.Runner = (*child)(nil)

// child is the process, in the shape that go-plugin wants. It is used once.
type child struct {
	name    string
	cmd     *exec.Cmd
	sockets string // the folder where the plugin makes its socket
	tls     bool

	sink   *logSink
	stdout *handshake
	stderr *lines
	head   *head // of stderr, until the handshake: the plugin has no secrets before

	lifeline *os.File // our end; the plugin ends when it is closed
	theirs   *os.File // the plugin's end, until it is started
	exited   chan struct{}

	mu     sync.Mutex
	pid    int    // guarded by mu; 0 before the start
	reaped bool   // guarded by mu; the pid may be another process's
	killed bool   // guarded by mu; it is not to be started any more
	failed error  // guarded by mu; why it could not be executed
	state  string // guarded by mu; how it ended
}

// drainGrace is how long the output of a dead plugin is waited for: something that it
// started may hold the other end.
const drainGrace = time.Second

func newChild(p *Plugin) *child {
	sink := &logSink{log: p.Logger, limit: p.Limits.LogLines}
	return &child{
		name: p.Name, tls: p.MutualTLS, exited: make(chan struct{}), sink: sink,
		stdout: newHandshake(sink.raw("stdout")), stderr: &lines{each: sink.structured}, head: &head{limit: 512},
	}
}

// Start starts the process. The thread that does it also waits for it: the kernel
// ties the signal at its parent's death to that thread, not to the process.
func (c *child) Start(context.Context) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := c.exec(); err != nil {
			c.release()
			close(c.exited)
			started <- err
			return
		}
		started <- nil
		c.reap()
	}()
	return <-started
}

// Kill is called by go-plugin, as are those below.
func (c *child) Kill(context.Context) error { c.kill(); return nil }

func (c *child) Wait(context.Context) error {
	<-c.exited
	return nil
}

func (c *child) ID() string {
	if pid := c.number(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

func (c *child) Name() string { return c.name }

func (c *child) Diagnose(context.Context) string { return "" }

func (c *child) Stdout() io.ReadCloser { return c.stdout.r }

// Stderr is empty: go-plugin would parse it, and panics on some lines.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// PluginToHost lets a plugin only name a socket in its own folder, or a loopback port
// where certificates prove who listens there.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	switch network {
	case "unix":
		if filepath.Dir(filepath.Clean(address)) != filepath.Clean(c.sockets) {
			return "", "", errors.New("the plugin named a socket outside the folder it was given")
		}
	case "tcp":
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			return "", "", errors.New("the plugin named an address that is not loopback")
		}
		if !c.tls {
			return "", "", errors.New("the plugin listens on TCP, which needs MutualTLS")
		}
	default:
		return "", "", errors.New("the plugin listens on neither a Unix socket nor TCP")
	}
	return network, address, nil
}

func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// prepare says what to execute. env is what the plugin gets, go-plugin's included.
func (c *child) prepare(p *Plugin, img *image, run *runDir, env []string, sockets string) error {
	c.sockets = sockets
	c.cmd = &exec.Cmd{Path: img.path, Args: []string{p.Path}, Dir: run.path, Env: env, WaitDelay: drainGrace}
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, io.MultiWriter(c.head, c.stderr)
	c.cmd.SysProcAttr = procAttr()
	if err := c.tie(); err != nil {
		return fmt.Errorf("no lifeline can be made: %w", err)
	}
	if img.file != nil { // the number that the descriptor will have in the child
		c.cmd.ExtraFiles = append(c.cmd.ExtraFiles, img.file)
		fd := strconv.Itoa(2 + len(c.cmd.ExtraFiles))
		c.cmd.Path = "/proc/self/fd/" + fd
		c.cmd.Env = append(c.cmd.Env, wire.EnvImage+"="+fd)
	}
	return nil
}

// exec holds the lock, so that a kill comes before it or after it.
func (c *child) exec() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { _ = c.theirs.Close() }()
	if c.killed {
		return errors.New("it was given up before it was started")
	}
	if err := c.cmd.Start(); err != nil {
		c.failed = err
		return err
	}
	c.pid = c.cmd.Process.Pid
	return nil
}

// reap waits for the end and ends the rest of the group, while the dead leader still
// keeps its number from being given to somebody else.
func (c *child) reap() {
	if awaitExit(c.pid) {
		c.bury()
	}
	err := c.cmd.Wait()
	c.bury()
	state := "exited"
	if c.cmd.ProcessState != nil {
		state = c.cmd.ProcessState.String()
	} else if err != nil {
		state = err.Error()
	}
	c.mu.Lock()
	c.state = state
	c.mu.Unlock()
	c.release()
	close(c.exited)
}

// bury ends the group, once, and lets nothing be sent to its number any more.
func (c *child) bury() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		killGroup(c.pid)
		c.reaped = true
	}
}

// release gives back what belongs to the process.
func (c *child) release() {
	c.stdout.close()
	c.stderr.end()
	c.sink.tell()
	if c.lifeline != nil {
		_ = c.lifeline.Close() // again perhaps
	}
	c.forgetSockets()
}

// forgetSockets removes the socket's name. Once the host is connected nobody needs
// it, and nothing can be left behind.
func (c *child) forgetSockets() {
	if c.sockets != "" {
		_ = os.RemoveAll(c.sockets) // the sweep of a later host does it
	}
}

// kill ends the process and its group.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	if c.pid != 0 && !c.reaped {
		killGroup(c.pid)
	}
}

// ending is how the process ended, or why it never began; both empty while it runs.
func (c *child) ending() (state string, failed error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.failed
}

// letGo closes our end of the lifeline, which is the plugin's cue to end. What belonged
// to this process alone it takes along: we may be killed before we can.
func (c *child) letGo() { _ = c.lifeline.Close() }

// number is the process's, 0 before the start.
func (c *child) number() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// head keeps the first bytes that are written to it.
type head struct {
	limit int

	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := h.limit - h.buf.Len(); room > 0 {
		h.buf.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.TrimSpace(wire.Clean(h.buf.String(), h.limit))
}
