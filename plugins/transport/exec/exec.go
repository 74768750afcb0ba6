package exec

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/plugins/transport/internal/stdio"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

var _ transport.Dialer = (*Dialer)(nil)

// marker is the variable that everything a session started can be found by.
const marker = "MCPOOL_EXEC_SESSION"

// Dialer runs commands. It keeps nothing of its own, so there is nothing to close.
type Dialer struct {
	cfg     Config // immutable after creation
	secrets []string
}

// New returns a Dialer, or all faults of cfg as *transport.ConfigError.
func New(cfg Config) (*Dialer, error) {
	cfg.Command, cfg.After = slices.Clone(cfg.Command), slices.Clone(cfg.After)
	cfg.Values, cfg.Env = maps.Clone(cfg.Values), maps.Clone(cfg.Env)
	if err := cfg.check(); err != nil {
		return nil, err
	}
	d := &Dialer{cfg: cfg}
	for _, v := range cfg.Env {
		d.secrets = append(d.secrets, v.Reveal())
	}
	return d, nil
}

// Dial starts the command. That it runs does not mean that what it wraps does: that
// shows with the first message.
func (d *Dialer) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) //nolint:wrapcheck // the caller's own
	}
	session := rand.Text()
	args, err := d.cfg.expand(d.cfg.Command, open, session)
	if err != nil {
		return nil, err
	}
	after, err := d.cfg.expand(d.cfg.After, open, session)
	if err != nil {
		return nil, err
	}
	p := &program{
		d: d, session: session, after: after,
		cmd:  exec.Command(args[0], args[1:]...), //nolint:gosec,noctx // the user's own command; the session ends it
		tail: &stdio.Tail{}, ended: make(chan struct{}),
	}
	if err := p.start(); err != nil {
		return nil, &transport.RefusedError{Problem: "the command does not start", Err: err}
	}
	return stdio.New(stdio.Config{
		In: p.in, Out: p.out, MaxBytes: open.Limit(), SendTimeout: d.cfg.SendTimeout,
		Cut: p.cut, Why: p.why, Stop: p.stop,
	}), nil
}

// program is a command that runs, for one session.
type program struct {
	// Immutable after start.
	d       *Dialer
	session string
	after   []string
	cmd     *exec.Cmd
	tail    *stdio.Tail
	in, out *os.File
	ended   chan struct{} // closed when the command has been waited for

	cutting sync.Once
}

func (d *Dialer) environ(session string) []string {
	env := os.Environ()
	if d.cfg.CleanEnv {
		env = nil
		for _, name := range []string{"PATH", "HOME"} {
			if v, ok := os.LookupEnv(name); ok {
				env = append(env, name+"="+v)
			}
		}
	}
	for name, v := range d.cfg.Env {
		env = append(env, name+"="+v.Reveal())
	}
	return append(env, marker+"="+session)
}

func (p *program) start() error {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("exec: %w", err), theirIn.Close(), in.Close())
	}
	p.in, p.out = in, out
	cmd := p.cmd
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, p.tail
	cmd.Dir, cmd.Env = p.d.cfg.Dir, p.d.environ(p.session)
	// What outlives the command and has its stderr must not keep us waiting.
	cmd.WaitDelay = p.d.cfg.StopTimeout / 2
	ownGroup(cmd)
	started := make(chan error, 1)
	go func() {
		// The kernel ties the signal at the parent's death to the thread that started
		// the command: so it has to live as long as the command does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // ProcessState says the same
			close(p.ended)
		}
	}()
	err = <-started
	_, _ = theirIn.Close(), theirOut.Close() // the command has its own
	if err != nil {
		return errors.Join(fmt.Errorf("exec: %w", err), in.Close(), out.Close())
	}
	return nil
}

// cut makes all reading and writing return.
func (p *program) cut() {
	p.cutting.Do(func() { _, _ = p.in.Close(), p.out.Close() })
}

// why says how the command ended. Its stdout may be a little ahead of it; one that goes
// on without is given as long as for any other end.
func (p *program) why() error {
	timer := time.NewTimer(p.d.cfg.StopTimeout)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		return nil
	}
	text := fmt.Sprintf("exec: %s: %v", filepath.Base(p.cmd.Path), p.cmd.ProcessState)
	if said := p.tail.Lines(p.d.secrets); said != "" {
		text += "; its last words:\n" + said
	}
	return errors.New(text)
}

// stop sees the command out, and everything that it started.
func (p *program) stop(ctx context.Context, _ transport.Reason) error {
	_ = p.in.Close() // it may be closed already
	p.await(ctx)
	for _, hard := range []bool{false, true} {
		if p.alone() {
			break
		}
		signalGroup(p.cmd, hard)
		signalMarked(p.session, hard)
		if hard {
			break
		}
		p.await(ctx)
	}
	p.cut() // a reader of its stdout would hold up nothing but itself
	<-p.ended
	if len(p.after) == 0 {
		return nil
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(p.d.cfg.StopTimeout, 5*time.Second))
	defer cancel()
	cmd := exec.CommandContext(within, p.after[0], p.after[1:]...) //nolint:gosec // the user's own command
	cmd.Dir, cmd.Env, cmd.WaitDelay = p.d.cfg.Dir, p.d.environ(p.session), 200*time.Millisecond
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("exec: the command of After: %w", err)
	}
	return nil
}

// await gives everything StopTimeout to end.
func (p *program) await(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, p.d.cfg.StopTimeout)
	defer cancel()
	for {
		select {
		case <-within.Done():
			return
		case <-p.ended:
		}
		if p.alone() {
			return
		}
		select { // what it left behind has no end that could be waited for
		case <-within.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// alone tells whether the command has ended and nothing of it is left.
func (p *program) alone() bool {
	select {
	case <-p.ended:
		return !groupAlive(p.cmd) && len(marked(p.session)) == 0
	default:
		return false
	}
}
