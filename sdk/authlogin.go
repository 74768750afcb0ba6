package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

var _ auth.Dialog = (*remoteDialog)(nil)

// Login runs one login; the stream is its dialog.
func (s *authServer) Login(stream grpc.BidiStreamingServer[authv1.LoginRequest, authv1.LoginResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	begin := first.GetBegin()
	if begin == nil {
		return errors.New("the first message of a login was not begin")
	}
	p, end, err := s.provider(begin.GetInstance())
	if err != nil {
		return err
	}
	defer end()
	interactive, ok := auth.AsInteractive(p)
	if !ok {
		return fmt.Errorf("the instance has no login: %w", auth.ErrUnsupported)
	}
	ctx, cancel := context.WithCancel(withTrace(stream.Context()))
	defer cancel()
	d := &remoteDialog{ctx: ctx, stream: stream, asks: make(map[uint64]chan *authv1.LoginAnswer)}
	go func() { // ends with the stream, when this method returns
		defer cancel()
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			d.deliver(m.GetAnswer())
		}
	}()
	done := &authv1.LoginDone{}
	if err := guard("Login", func() error {
		return interactive.Login(ctx, wire.RequestFrom(begin.GetRequest()), d)
	}); err != nil {
		done.Failure = wire.Failure(err)
	}
	return d.finish(&authv1.LoginResponse{Message: &authv1.LoginResponse_Done{Done: done}})
}

// remoteDialog asks the host.
type remoteDialog struct {
	ctx    context.Context //nolint:containedctx // of the login, which is all that it lives for
	stream grpc.BidiStreamingServer[authv1.LoginRequest, authv1.LoginResponse]

	sending sync.Mutex // held while a message is sent
	over    bool       // guarded by sending

	mu   sync.Mutex
	last uint64                              // guarded by mu
	asks map[uint64]chan *authv1.LoginAnswer // guarded by mu; one place each
}

func (d *remoteDialog) RedirectURL(ctx context.Context) (string, error) {
	s, err := d.ask(ctx, &authv1.LoginResponse{
		Message: &authv1.LoginResponse_RedirectUrl{RedirectUrl: &authv1.RedirectUrlAsk{}},
	})
	return s.Reveal(), err
}

func (d *remoteDialog) Show(ctx context.Context, p auth.Prompt) error {
	show := &authv1.ShowAsk{Url: p.URL, UserCode: p.UserCode, Message: wire.Clean(p.Message, 1024)}
	if !p.Expires.IsZero() {
		show.Expires = timestamppb.New(p.Expires)
	}
	_, err := d.ask(ctx, &authv1.LoginResponse{Message: &authv1.LoginResponse_Show{Show: show}})
	return err
}

func (d *remoteDialog) Callback(ctx context.Context, state string) (auth.Secret, error) {
	return d.ask(ctx, &authv1.LoginResponse{
		Message: &authv1.LoginResponse_Callback{Callback: &authv1.CallbackAsk{State: state}},
	})
}

func (d *remoteDialog) send(m *authv1.LoginResponse) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	if d.over {
		return fmt.Errorf("sdk: the login is over, and its dialog with it: %w", context.Canceled)
	}
	return d.stream.Send(m)
}

// finish sends the last message. A provider that kept its dialog cannot send after it.
func (d *remoteDialog) finish(m *authv1.LoginResponse) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	d.over = true
	return d.stream.Send(m)
}

func (d *remoteDialog) deliver(a *authv1.LoginAnswer) {
	d.mu.Lock()
	ch := d.asks[a.GetId()]
	delete(d.asks, a.GetId())
	d.mu.Unlock()
	if ch != nil {
		ch <- a
	}
}

// ask sends m under an id of its own and waits for the answer.
func (d *remoteDialog) ask(ctx context.Context, m *authv1.LoginResponse) (auth.Secret, error) {
	ch := make(chan *authv1.LoginAnswer, 1)
	d.mu.Lock()
	d.last++
	m.Id = d.last
	d.asks[d.last] = ch
	d.mu.Unlock()
	if err := d.send(m); err != nil {
		return auth.Secret{}, err
	}
	var why error
	select {
	case a := <-ch:
		if f := a.GetFailure(); f != nil {
			err := wire.FromFailure(f)
			err.Plugin, err.Method = "host", "dialog"
			return auth.Secret{}, err
		}
		return auth.NewSecret(string(a.GetValue())), nil
	case <-ctx.Done():
		why = ctx.Err()
	case <-d.ctx.Done():
		why = d.ctx.Err()
	}
	d.mu.Lock()
	delete(d.asks, m.GetId())
	d.mu.Unlock()
	_ = d.send(&authv1.LoginResponse{Id: m.GetId(), Message: &authv1.LoginResponse_Cancel{Cancel: &authv1.Cancel{}}})
	return auth.Secret{}, why
}
