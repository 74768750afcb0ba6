package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/go-mcpool/mcpool/plugins/transport/internal/stdio"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

var _ transport.Dialer = (*Dialer)(nil)

// Dialer runs commands on another machine. It keeps nothing open of its own, so
// there is nothing to close.
type Dialer struct {
	// Immutable after creation.
	cfg   Config
	trust *trust
}

// New returns a Dialer, or all faults of cfg as *transport.ConfigError. It reads the
// known_hosts files, and connects to nothing.
func New(cfg Config) (*Dialer, error) {
	cfg.Command, cfg.KnownHosts, cfg.KeyFiles = slices.Clone(cfg.Command), slices.Clone(cfg.KnownHosts), slices.Clone(cfg.KeyFiles)
	trust, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Dialer{cfg: cfg, trust: trust}, nil
}

// Dial connects and starts the command. That it was started does not mean that it
// is an MCP server: that shows with the first message.
func (d *Dialer) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.cfg.DialTimeout, fmt.Errorf("ssh: no connection within %v: %w", d.cfg.DialTimeout, context.DeadlineExceeded))
	defer cancel()
	line, err := new(net.Dialer).DialContext(ctx, "tcp", d.cfg.Address)
	if err != nil {
		return nil, because(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = line.Close() }) // what is begun ends with the context
	r, err := d.start(ctx, line)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = line.Close() // the reason is err
		return nil, because(ctx, err)
	}
	return stdio.New(stdio.Config{
		In: r.in, Out: r.out, MaxBytes: open.Limit(), SendTimeout: d.cfg.SendTimeout, Cut: r.cut, Why: r.why, Stop: r.stop,
	}), nil
}

// because prefers the end of the context to what it caused.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) //nolint:wrapcheck // it says which of the two ended
	}
	return err
}

// start makes the handshake on line and starts the command.
func (d *Dialer) start(ctx context.Context, line net.Conn) (*remote, error) {
	methods, done, err := d.methods(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	config := &ssh.ClientConfig{
		User: d.cfg.User, Auth: methods, HostKeyCallback: d.trust.check, HostKeyAlgorithms: d.trust.algorithms(d.cfg.Address, line.RemoteAddr()),
	}
	conn, channels, requests, err := ssh.NewClientConn(line, d.cfg.Address, config)
	if err != nil {
		return nil, refused(err)
	}
	r := &remote{d: d, line: line, client: ssh.NewClient(conn, channels, requests), tail: &stdio.Tail{}, ended: make(chan struct{})}
	session, err := r.client.NewSession()
	if err == nil {
		err = r.run(session)
	}
	if err != nil {
		_ = r.client.Close() // the reason is err
		return nil, fmt.Errorf("ssh: the command does not start: %w", err)
	}
	return r, nil
}

// methods are what the client comes with: the keys of its files, then those of the
// agent. done closes what is only needed until the server is content.
func (d *Dialer) methods(ctx context.Context) (methods []ssh.AuthMethod, done func(), err error) {
	keys, err := d.cfg.keys()
	if err != nil {
		return nil, nil, err
	}
	done = func() {}
	var more func() ([]ssh.Signer, error)
	if d.cfg.Agent != "" {
		socket, err := new(net.Dialer).DialContext(ctx, "unix", d.cfg.Agent)
		switch {
		case err == nil:
			stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
			done = func() { stop(); _ = socket.Close() } // it was only asked
			more = agent.NewClient(socket).Signers
		case len(keys) == 0:
			return nil, nil, fmt.Errorf("ssh: the agent does not answer: %w", err)
		}
	}
	return []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		if more == nil {
			return keys, nil
		}
		others, err := more()
		if err != nil && len(keys) == 0 {
			return nil, err //nolint:wrapcheck // the handshake says what it was doing
		}
		return append(slices.Clone(keys), others...), nil
	})}, done, nil
}

// remote is a command that runs, for one session.
type remote struct {
	// Immutable after start.
	d       *Dialer
	line    net.Conn
	client  *ssh.Client
	session *ssh.Session
	in      *stdin
	out     reader
	tail    *stdio.Tail
	ended   chan struct{} // closed when the command has ended, or the line
	state   error         // readable after ended

	cutting sync.Once
	alive   sync.WaitGroup // of the keepalive
	quit    context.CancelFunc
}

type (
	writeCloser interface {
		Write(b []byte) (int, error)
		Close() error
	}
	reader interface{ Read(b []byte) (int, error) }
)

// stdin is the command's. The library's may not be written to and closed at once.
type stdin struct {
	mu   sync.Mutex
	pipe writeCloser // guarded by mu
}

func (s *stdin) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pipe.Write(b) //nolint:wrapcheck // it stands in for what it wraps
}

// close waits for what is being written: for as long as that is stuck, at most until
// the line is cut.
func (s *stdin) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.pipe.Close() // it may be closed already
}

// run starts the command on a session.
func (r *remote) run(session *ssh.Session) (err error) {
	r.session = session
	session.Stderr = r.tail
	in, err := session.StdinPipe()
	if err != nil {
		return err //nolint:wrapcheck // the caller says what it was doing
	}
	r.in = &stdin{pipe: in}
	if r.out, err = session.StdoutPipe(); err != nil {
		return err //nolint:wrapcheck // the caller says what it was doing
	}
	if err := session.Start(r.d.cfg.remote()); err != nil {
		return err //nolint:wrapcheck // the caller says what it was doing
	}
	go func() {
		r.state = session.Wait()
		close(r.ended)
	}()
	ctx, quit := context.WithCancel(context.Background())
	r.quit = quit
	if r.d.cfg.KeepAlive > 0 {
		r.alive.Go(func() { r.keepAlive(ctx) })
	}
	return nil
}

// keepAlive sees to it that a server that is silently gone is noticed.
func (r *remote) keepAlive(ctx context.Context) {
	tick := time.NewTicker(r.d.cfg.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		late := time.AfterFunc(r.d.cfg.KeepAliveTimeout, r.cut)
		_, _, err := r.client.SendRequest("keepalive@openssh.com", true, nil) // any answer will do, and no is the usual one
		late.Stop()
		if err != nil {
			return
		}
	}
}

// cut ends the line, and with it all reading and writing.
func (r *remote) cut() {
	r.cutting.Do(func() { _ = r.line.Close() })
}

// why says how the command ended. Its stdout may be a little ahead of it; one that goes
// on without is given as long as for any other end.
func (r *remote) why() error {
	timer := time.NewTimer(r.d.cfg.StopTimeout)
	defer timer.Stop()
	select {
	case <-r.ended:
	case <-timer.C:
		return nil
	}
	text := "ssh: the command ended"
	var exit *ssh.ExitError
	var missing *ssh.ExitMissingError
	switch {
	case errors.As(r.state, &exit):
		text = fmt.Sprintf("ssh: the command ended with status %d", exit.ExitStatus())
	case errors.As(r.state, &missing):
		text = "ssh: the line was cut"
	}
	if said := r.tail.Lines(nil); said != "" {
		text += "; its last words:\n" + said
	}
	return errors.New(text)
}

// stop sees the command out, and then the line.
func (r *remote) stop(ctx context.Context, _ transport.Reason) error {
	r.quit()
	var asking sync.WaitGroup
	// Each of these may block on a line that is stuck.
	asking.Go(r.in.close)
	asking.Go(func() {
		for _, sig := range []ssh.Signal{ssh.SIGTERM, ssh.SIGKILL} {
			if r.await(ctx) {
				return
			}
			_ = r.session.Signal(sig) // it may be gone
		}
		r.await(ctx)
	})
	patience := time.AfterFunc(4*r.d.cfg.StopTimeout, r.cut)
	defer patience.Stop()
	defer context.AfterFunc(ctx, r.cut)()
	asking.Wait()
	_ = r.client.Close() // it may be cut already
	r.cut()
	<-r.ended
	r.alive.Wait()
	return nil
}

// await waits StopTimeout for the command to end, and tells whether it did.
func (r *remote) await(ctx context.Context) bool {
	timer := time.NewTimer(r.d.cfg.StopTimeout)
	defer timer.Stop()
	select {
	case <-r.ended:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}
