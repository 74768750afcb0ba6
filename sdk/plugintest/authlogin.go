package plugintest

import (
	"context"
	"errors"
	"sync"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// login: it ends where nobody can be asked, and with its context.
func (s *authSuite[C]) login(r *report) {
	cfg := s.opts.Config
	if s.opts.Login != nil {
		cfg = *s.opts.Login
	}
	u := s.use(r, cfg)
	if !u.logsIn {
		r.Skip("it does not log in")
	}
	r.within("Login without a person", func() {
		if err := u.Login(context.Background(), s.opts.Request, noDialog{}); err == nil && s.opts.Login != nil {
			r.faultf("Login succeeded, although nobody could be asked")
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d := &absent{cancel: cancel}
	r.within("Login whose person is gone, and whose context was cancelled", func() {
		err := u.Login(ctx, s.opts.Request, d)
		switch {
		case d.asked() && !errors.Is(err, context.Canceled):
			r.faultf("Login whose context was cancelled returned another error: %v", err)
		case !d.asked() && s.opts.Login != nil:
			r.faultf("Login asked nobody: %v", err)
		}
	})
}

// Login logs in.
func (u *subject) Login(ctx context.Context, req auth.Request, d auth.Dialog) error {
	err := u.interactive.Login(ctx, req.Clone(), d)
	u.checkError(ctx, "Login", err)
	return err
}

// noDialog is that of a host which can reach nobody.
type noDialog struct{}

func (noDialog) RedirectURL(context.Context) (string, error) { return "", auth.ErrUnsupported }
func (noDialog) Show(context.Context, auth.Prompt) error     { return auth.ErrUnsupported }
func (noDialog) Callback(context.Context, string) (auth.Secret, error) {
	return auth.Secret{}, auth.ErrUnsupported
}

// absent shows the prompt to nobody, and has the login given up then.
type absent struct {
	cancel context.CancelFunc

	mu    sync.Mutex
	shown bool // guarded by mu
}

func (d *absent) RedirectURL(context.Context) (string, error) {
	return "http://127.0.0.1:9/callback", nil
}

func (d *absent) Show(context.Context, auth.Prompt) error {
	d.mu.Lock()
	d.shown = true
	d.mu.Unlock()
	d.cancel()
	return nil
}

func (d *absent) Callback(ctx context.Context, _ string) (auth.Secret, error) {
	<-ctx.Done()
	return auth.Secret{}, ctx.Err()
}

func (d *absent) asked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shown
}
