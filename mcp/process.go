package mcpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// process is a server that runs as a child, in a process group of its own.
type process struct {
	// Immutable after creation.
	cmd   *exec.Cmd
	name  string
	grace time.Duration
	stdin io.WriteCloser
	tail  *tail
	began time.Time
	ended chan struct{} // closed when the process has been waited for

	stopping  sync.Once
	asked     chan struct{} // closed when we began to stop it
	signalled atomic.Bool   // we did not leave it at asking
	written   atomic.Uint64 // messages that went to its stdin whole
}

// startProcess starts the command for s and returns its transport.
func (p *Pool) startProcess(ctx context.Context, s *conn) (mcp.Transport, error) {
	if err := p.crashes.wait(ctx); err != nil {
		return nil, err
	}
	c := &p.cfg.Command
	proc := &process{
		cmd: exec.Command(c.Path, c.Args...), name: filepath.Base(c.Path), grace: c.StopTimeout, //nolint:gosec,noctx // the user's own command; the pool ends it itself
		tail: newTail(c.Env), ended: make(chan struct{}), asked: make(chan struct{}), began: time.Now(),
	}
	cmd := proc.cmd
	cmd.Dir, cmd.Stderr = c.Dir, proc.tail
	if c.Env != nil {
		cmd.Env = slices.Concat([]string{}, c.Env)
	}
	// What outlives the child and still has its stderr must not keep us waiting.
	cmd.WaitDelay = time.Second
	ownGroup(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, &ProcessError{Command: proc.name, Err: err}
	}
	// Not StdoutPipe: Wait would close that while answers are still to be read.
	out, in, err := os.Pipe()
	if err != nil {
		return nil, &ProcessError{Command: proc.name, Err: errors.Join(err, stdin.Close())}
	}
	cmd.Stdout = in
	err = cmd.Start()
	_ = in.Close() // the child has its own
	if err != nil {
		return nil, &ProcessError{Command: proc.name, Err: errors.Join(err, out.Close())}
	}
	proc.stdin = stdin
	s.process = proc
	go func() {
		_ = cmd.Wait() // ProcessState says the same
		killGroup(cmd) // what it leaves behind
		close(proc.ended)
		select {
		case <-proc.asked:
		default:
			p.crashes.note(time.Since(proc.began))
		}
	}()
	return &mcp.IOTransport{Reader: out, Writer: stdinOf{proc}}, nil
}

// stdinOf closes the process's stdin and has the rest done by stop.
type stdinOf struct{ p *process }

func (w stdinOf) Write(b []byte) (int, error) {
	n, err := w.p.stdin.Write(b)
	if err == nil {
		w.p.written.Add(1)
	}
	return n, err //nolint:wrapcheck // a writer returns what it wraps
}

func (w stdinOf) Close() error {
	w.p.beginStop()
	return nil
}

func (p *process) beginStop() {
	p.stopping.Do(func() {
		close(p.asked)
		_ = p.stdin.Close() // the process may have gone
		go p.end()
	})
}

// end sees the process out: it may end by itself, then it is asked to, then killed.
func (p *process) end() {
	for _, signal := range []func(*exec.Cmd){terminateGroup, killGroup} {
		timer := time.NewTimer(p.grace)
		select {
		case <-p.ended:
			timer.Stop()
			return
		case <-timer.C:
			p.signalled.Store(true)
			signal(p.cmd)
		}
	}
}

// stop ends the process and returns when it and its group are gone.
func (p *process) stop() {
	p.beginStop()
	<-p.ended
}

// afterwards is how long the end of a process may come after that of its
// connection, on a machine that is busy.
const afterwards = 2 * time.Second

// failure describes how the process ended, or is nil if it runs, or ended because
// we wanted it to. It waits a while for the end.
func (p *process) failure(wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		return nil
	}
	state := p.cmd.ProcessState
	asked := false
	select {
	case <-p.asked:
		asked = true
	default:
	}
	if p.signalled.Load() || asked && state != nil && state.Success() {
		return nil
	}
	e := &ProcessError{Command: p.name, Stderr: p.tail.lines()}
	if state != nil {
		e.State = state.String()
	}
	return e
}

// tail keeps the last lines of what is written to it.
type tail struct {
	secrets []string // immutable

	mu   sync.Mutex
	kept []byte // guarded by mu
}

const (
	tailBytes = 8 << 10
	tailLines = 20
)

// newTail returns a tail that blots out the values of env. Short ones are left:
// they are no secrets, and would be found everywhere.
func newTail(env []string) *tail {
	t := &tail{}
	for _, kv := range env {
		if _, value, ok := strings.Cut(kv, "="); ok && len(value) >= 8 {
			t.secrets = append(t.secrets, value)
		}
	}
	return t
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if len(t.kept) > 2*tailBytes {
		t.kept = append([]byte(nil), t.kept[len(t.kept)-tailBytes:]...)
	}
	return len(b), nil
}

func (t *tail) lines() []string {
	t.mu.Lock()
	text := string(t.kept[max(len(t.kept)-tailBytes, 0):])
	t.mu.Unlock()
	for _, s := range t.secrets {
		text = strings.ReplaceAll(text, s, "[redacted]")
	}
	text = strings.TrimRight(strings.ToValidUTF8(text, "?"), "\r\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(len(lines)-tailLines, 0):]
}

// crashes delays the start of processes that keep ending soon after it.
type crashes struct {
	mu     sync.Mutex
	streak int       // guarded by mu
	next   time.Time // guarded by mu
}

// young is how long a process has to live for its end not to count.
const young = 10 * time.Second

func (c *crashes) note(lived time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lived >= young {
		c.streak = 0
		return
	}
	c.streak++
	pause := min(50*time.Millisecond<<min(c.streak-1, 8), 10*time.Second)
	c.next = time.Now().Add(time.Duration(float64(pause) * (0.5 + rand.Float64())))
}

func (c *crashes) wait(ctx context.Context) error {
	c.mu.Lock()
	pause := time.Until(c.next)
	streak := c.streak
	c.mu.Unlock()
	if pause <= 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("mcpool: the command ended soon after its start %d times: %w", streak, contextError(ctx))
	}
}
