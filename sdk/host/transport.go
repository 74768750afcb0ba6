package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

var _ transport.Dialer = (*Dialer)(nil)

// Dialer is an instance of the kind transport, wherever it runs at the moment.
// Running.Transport makes one.
type Dialer struct {
	running  *Running
	instance *instance

	mu     sync.Mutex
	conns  map[*conn]struct{} // guarded by mu
	closed bool               // guarded by mu
}

// Transport opens an instance of the kind transport. Dialling is repeated once if the
// plugin is lost meanwhile. A connection is not: when its process goes away, by a crash
// or by Replace after Limits.Drain, it ends with a *transport.CloseError whose reason
// is PeerGone or ShuttingDown, and the next Dial finds the new process.
func (r *Running) Transport(ctx context.Context, in Instance) (*Dialer, error) {
	i, err := r.openAs(ctx, in, wire.KindTransport, func(field, problem string) error {
		return &transport.ConfigError{Field: field, Problem: problem}
	})
	if err != nil {
		return nil, err
	}
	return &Dialer{running: r, instance: i, conns: make(map[*conn]struct{})}, nil
}

// openAs opens an instance, and makes the faults of its configuration those of its kind.
func (r *Running) openAs(
	ctx context.Context, in Instance, kind string, fault func(field, problem string) error,
) (*instance, error) {
	i, err := r.prepare(in, kind)
	if err != nil {
		return nil, err
	}
	if err := r.add(ctx, i); err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			wire.SayConfigAs(e, fault)
		}
		return nil, err
	}
	return i, nil
}

// Dial has the plugin open a connection. Limits.Call bounds it where ctx does not.
func (d *Dialer) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	ctx, cancel := withDefaultDeadline(ctx, d.running.limits().Call)
	defer cancel()
	var made *conn
	var refused error // what the dialer in the plugin said, in the types of package transport
	var subject dialSubject
	err := d.running.call(ctx, "Dial", d.instance.name, func(ctx context.Context, p *process) (err error) {
		made, refused, err = d.dial(ctx, p, open, &subject)
		return err
	})
	switch {
	case err != nil:
		return nil, subject.blame(err)
	case refused != nil:
		return nil, subject.blame(refused)
	}
	return made, nil
}

// Close ends the connections and the instance.
func (d *Dialer) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	conns := make([]*conn, 0, len(d.conns))
	for c := range d.conns {
		conns = append(conns, c)
	}
	d.mu.Unlock()
	errs := make([]error, len(conns)+1)
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() { errs[i] = c.Close(ctx, transport.ShuttingDown) })
	}
	wg.Wait()
	errs[len(conns)] = d.running.closeInstance(ctx, d.instance)
	return errors.Join(errs...)
}

// dial opens a stream in a process. The first error is the dialer's in the plugin.
func (d *Dialer) dial(
	ctx context.Context, p *process, open transport.Open, subject *dialSubject,
) (made *conn, refused, err error) {
	if !p.begin() { // counts until the session ends
		return nil, nil, &Error{Message: "the plugin went away before the call", Causes: []error{errLost}}
	}
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if made == nil {
			cancel()
			p.end()
			if ctx.Err() != nil && err != nil {
				err = &Error{Message: "the plugin did not open the connection in time", Ran: true, Causes: []error{ctx.Err()}}
			}
		}
	}()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	limit := p.plugin.Limits.MessageBytes
	m := wire.OpenTo(d.instance.name, open)
	m.Window, m.PartBytes = window, uint32(wire.PartSize(limit, 0)) //nolint:gosec // at most wire.MaxPart
	if deadline, ok := ctx.Deadline(); ok {
		m.Timeout = durationpb.New(time.Until(deadline))
	}
	subject.add(ctx, p, open, m)
	stream, err := transportv1.NewTransportServiceClient(p.conn).Session(lasting)
	if err != nil {
		return nil, nil, err
	}
	_ = stream.Send(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Open{Open: m}}) // Recv learns why not
	answer, err := stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	switch a := answer.GetMessage().(type) {
	case *transportv1.SessionResponse_Ended:
		return nil, wire.FaultFrom(a.Ended, d.sayIn("Dial")), nil
	case *transportv1.SessionResponse_Opened:
		if !stop() {
			return nil, nil, ctx.Err()
		}
		c := newConn(d, p, stream, cancel, open.Limit(), wire.PartSize(limit, int(a.Opened.GetPartBytes())))
		if !d.keep(c) {
			return nil, nil, fmt.Errorf("%w: instance %s", ErrClosed, d.instance.name)
		}
		c.start()
		return c, nil, nil
	}
	return nil, nil, &Error{Message: "the plugin answered neither opened nor ended"}
}

// sayIn names the plugin in an error.
func (d *Dialer) sayIn(method string) func(*Error) {
	return func(e *Error) { e.Plugin, e.Instance, e.Method = d.running.name, d.instance.name, method }
}

// keep remembers a connection, unless the Dialer is closed.
func (d *Dialer) keep(c *conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.conns[c] = struct{}{}
	return true
}

func (d *Dialer) forget(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// dialSubject is the token of an identity, for one Dial. It goes only to plugins that
// say they use it, and is asked for once, however often dialling is repeated.
type dialSubject struct {
	asked bool
	token string
	err   error
}

func (s *dialSubject) add(ctx context.Context, p *process, open transport.Open, m *transportv1.Open) {
	if open.Identity.Subject == nil || !slices.Contains(p.kind(wire.KindTransport).Capabilities, wire.CapSubject) {
		return
	}
	if !s.asked {
		s.asked = true
		s.token, s.err = open.Identity.Subject(ctx)
	}
	m.Identity.Subject = &transportv1.Subject{Token: []byte(s.token)}
	if s.err != nil {
		m.Identity.Subject = &transportv1.Subject{Problem: wire.Clean("the host has no subject token: "+s.err.Error(), 1024)}
	}
}

// blame adds why there was no token to an error that may come of it.
func (s *dialSubject) blame(err error) error {
	if s.err == nil {
		return err
	}
	return errors.Join(err, s.err)
}
