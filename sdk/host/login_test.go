//go:build unix

package host

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// nobody is a dialog whose person never comes back.
type nobody struct {
	asked     chan struct{} // closed when the callback is waited for
	ended     chan error    // why the wait ended
	shown     func()
	redirects atomic.Int32
}

func newNobody() *nobody {
	return &nobody{asked: make(chan struct{}), ended: make(chan error, 1), shown: func() {}}
}

// The second time it waits for the end of the callback.
func (d *nobody) RedirectURL(ctx context.Context) (string, error) {
	if d.redirects.Add(1) == 2 {
		select {
		case err := <-d.ended:
			d.ended <- err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return "http://127.0.0.1/cb", nil
}

func (d *nobody) Show(context.Context, auth.Prompt) error { d.shown(); return nil }

func (d *nobody) Callback(ctx context.Context, _ string) (auth.Secret, error) {
	close(d.asked)
	<-ctx.Done()
	d.ended <- ctx.Err()
	return auth.Secret{}, ctx.Err()
}

func interactive(t *testing.T) (*Running, auth.Provider, auth.Interactive) {
	t.Helper()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	i, ok := auth.AsInteractive(a)
	if !ok {
		t.Fatal("the instance has no login")
	}
	return r, a, i
}

func TestALoginThatIsGivenUpEndsOnBothSides(t *testing.T) {
	t.Parallel()
	_, a, i := interactive(t)
	dir := value(t, a, "state")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d, result := newNobody(), make(chan error, 1)
	go func() { result <- i.Login(ctx, request("x"), d) }()
	<-d.asked
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Login: %v", err)
	}
	if err := <-d.ended; err == nil {
		t.Error("the dialog was not told")
	}
	eventually(t, "the plugin is told", func() bool { return exists(filepath.Join(dir, "login-ended")) })
	if err := i.Login(t.Context(), request("x"), &dialog{query: "code=4711&state=state-1"}); err != nil {
		t.Errorf("the next login: %v", err)
	}
}

func TestAQuestionThatThePluginTakesBackEndsAtTheDialogAndTheLoginGoesOn(t *testing.T) {
	t.Parallel()
	_, _, i := interactive(t)
	d := newNobody()
	if err := i.Login(t.Context(), request("impatient"), d); err != nil {
		t.Errorf("Login: %v", err)
	}
	if err := <-d.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the question ended with %v", err)
	}
	if n := d.redirects.Load(); n != 2 {
		t.Errorf("%d other questions, want 2", n)
	}
}

// The person would be asked twice.
func TestALoginIsNotRepeatedAfterACrash(t *testing.T) {
	t.Parallel()
	r, a, i := interactive(t)
	pid := r.Stats().PID
	d := newNobody()
	d.shown = func() { syscall.Kill(pid, syscall.SIGKILL) }
	err := i.Login(t.Context(), request("x"), d)
	if !asError(err).Ran || d.redirects.Load() != 1 {
		t.Errorf("Login: %v, asked %d times", err, d.redirects.Load())
	}
	if value(t, a, "pid") == "" {
		t.Error("the plugin does not answer")
	}
}
