package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

var _ auth.Interactive = (*authLogin)(nil)

// authLogin is an instance that takes a person through a login.
type authLogin authProvider

// Login runs a login. It is not repeated when the plugin fails: the person would be
// asked twice.
func (a *authLogin) Login(ctx context.Context, req auth.Request, d auth.Dialog) error {
	var subject subject
	p, err := a.running.current(ctx)
	if err != nil {
		return a.running.say(err, "Login", a.instance.name)
	}
	err = a.login(ctx, p, subject.add(ctx, p, req), d)
	p.end()
	if err == nil {
		return nil
	}
	e := fromRPC(err)
	if errors.Is(e, wire.ErrNoInstance) { // nobody was asked anything yet
		if err := a.running.reopen(ctx, a.instance.name); err != nil {
			return a.running.say(err, "Login", a.instance.name)
		}
		if p, err = a.running.current(ctx); err != nil {
			return a.running.say(err, "Login", a.instance.name)
		}
		err = a.login(ctx, p, subject.add(ctx, p, req), d)
		p.end()
		if err == nil {
			return nil
		}
		e = fromRPC(err)
	}
	return subject.blame(a.running.say(e, "Login", a.instance.name))
}

func (a *authLogin) login(ctx context.Context, p *process, req *authv1.Request, d auth.Dialog) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := authv1.NewAuthServiceClient(p.conn).Login(ctx)
	if err != nil {
		return err
	}
	x := &loginStream{stream: stream, dialog: d, cancels: make(map[uint64]context.CancelFunc)}
	defer x.asks.Wait()
	defer cancel()
	if err := x.send(&authv1.LoginRequest{Message: &authv1.LoginRequest_Begin{
		Begin: &authv1.LoginBegin{Instance: a.instance.name, Request: req},
	}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		switch {
		case m.GetDone() != nil:
			if f := m.GetDone().GetFailure(); f != nil {
				return wire.FromFailure(f)
			}
			return nil
		case m.GetCancel() != nil:
			x.cancel(m.GetId())
		default:
			if err := x.answer(ctx, m); err != nil {
				return err
			}
		}
	}
}

// loginStream answers what the plugin asks.
type loginStream struct {
	stream grpc.BidiStreamingClient[authv1.LoginRequest, authv1.LoginResponse]
	dialog auth.Dialog
	asks   sync.WaitGroup

	sending sync.Mutex // held while a message is sent

	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc // guarded by mu
}

func (x *loginStream) send(m *authv1.LoginRequest) error {
	x.sending.Lock()
	defer x.sending.Unlock()
	return x.stream.Send(m)
}

func (x *loginStream) cancel(id uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if cancel := x.cancels[id]; cancel != nil {
		cancel()
	}
}

// answer asks the dialog, in a goroutine of its own: a callback may take minutes. What the
// plugin asks beyond maxAsks is answered with a failure.
func (x *loginStream) answer(ctx context.Context, m *authv1.LoginResponse) error {
	ctx, cancel := context.WithCancel(ctx)
	x.mu.Lock()
	_, twice := x.cancels[m.GetId()]
	full := len(x.cancels) >= maxAsks
	if !twice && !full {
		x.cancels[m.GetId()] = cancel
	}
	x.mu.Unlock()
	a := &authv1.LoginAnswer{Id: m.GetId()}
	switch {
	case twice: // an answer would be taken for that of the other
		cancel()
		return &Error{Message: fmt.Sprintf("the plugin asked twice with the id %d", m.GetId()), Ran: true}
	case full:
		cancel()
		a.Failure = wire.Failure(fmt.Errorf("%d questions have no answer, and no more are asked at once", maxAsks))
		_ = x.send(&authv1.LoginRequest{Message: &authv1.LoginRequest_Answer{Answer: a}})
		return nil
	}
	x.asks.Go(func() {
		value, err := x.ask(ctx, m)
		cancel()
		if err != nil {
			a.Failure = wire.Failure(err)
		} else {
			a.Value = []byte(value)
		}
		x.sending.Lock()
		defer x.sending.Unlock()
		x.mu.Lock()
		delete(x.cancels, m.GetId()) // not before: a plugin that reads no answers would never have too many
		x.mu.Unlock()
		_ = x.stream.Send(&authv1.LoginRequest{Message: &authv1.LoginRequest_Answer{Answer: a}}) // a broken stream ends in Recv
	})
	return nil
}

// maxAsks bounds what a plugin can ask at once.
const maxAsks = 16

func (x *loginStream) ask(ctx context.Context, m *authv1.LoginResponse) (string, error) {
	switch ask := m.GetMessage().(type) {
	case *authv1.LoginResponse_RedirectUrl:
		return x.dialog.RedirectURL(ctx)
	case *authv1.LoginResponse_Show:
		p := auth.Prompt{
			URL: ask.Show.GetUrl(), UserCode: wire.Clean(ask.Show.GetUserCode(), 64),
			Message: wire.Clean(ask.Show.GetMessage(), 1024), Expires: wire.TimeFrom(ask.Show.GetExpires()),
		}
		return "", x.dialog.Show(ctx, p)
	case *authv1.LoginResponse_Callback:
		s, err := x.dialog.Callback(ctx, ask.Callback.GetState())
		return s.Reveal(), err
	default:
		return "", auth.ErrUnsupported
	}
}
