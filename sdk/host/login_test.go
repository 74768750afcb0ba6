//go:build unix

package host

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
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
	err := inTime(t, "the login ends", func() error { return i.Login(t.Context(), request("impatient"), d) })
	if err != nil {
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

// questions is a stream that keeps the answers.
type questions struct {
	grpc.BidiStreamingClient[authv1.LoginRequest, authv1.LoginResponse]

	answers chan *authv1.LoginAnswer
}

func (q *questions) Send(m *authv1.LoginRequest) error {
	q.answers <- m.GetAnswer()
	return nil
}

func TestAPluginAsksOnlySoMuchAtOnceAndShowsOnlyText(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int32
	q := &questions{answers: make(chan *authv1.LoginAnswer, 2*maxAsks)}
	d := &crowd{asked: &asked}
	x := &loginStream{stream: q, dialog: d, cancels: make(map[uint64]context.CancelFunc)}
	for id := range uint64(maxAsks + 1) {
		if err := x.answer(ctx, callback(id)); err != nil {
			t.Fatal(err)
		}
	}
	if a := <-q.answers; a.GetId() != maxAsks || !strings.Contains(a.GetFailure().GetMessage(), "16 questions have no answer") {
		t.Errorf("one question too many was answered with %v", a)
	}
	if err := x.answer(ctx, callback(3)); err == nil || !strings.Contains(err.Error(), "asked twice with the id 3") {
		t.Errorf("an id that is in use: %v", err)
	}
	eventually(t, "the dialog is asked", func() bool { return asked.Load() == maxAsks })
	cancel()
	x.asks.Wait()
	if n := asked.Load(); n != maxAsks || len(q.answers) != maxAsks || len(x.cancels) != 0 {
		t.Errorf("%d questions at once, %d answers, %d left", n, len(q.answers), len(x.cancels))
	}
	_, err := x.ask(t.Context(), &authv1.LoginResponse{Message: &authv1.LoginResponse_Show{Show: &authv1.ShowAsk{
		UserCode: "A\x1bB", Message: "C\x1bD",
	}}})
	if err != nil || d.shown.UserCode != "A B" || d.shown.Message != "C D" {
		t.Errorf("shown %+v, %v", d.shown, err)
	}
	if _, err := x.ask(t.Context(), &authv1.LoginResponse{}); !errors.Is(err, auth.ErrUnsupported) {
		t.Errorf("a question that nobody knows: %v", err)
	}
}

func callback(id uint64) *authv1.LoginResponse {
	return &authv1.LoginResponse{Id: id, Message: &authv1.LoginResponse_Callback{Callback: &authv1.CallbackAsk{}}}
}

// deafDialog is a stream that takes nothing until it is let go.
type deafDialog struct {
	grpc.BidiStreamingClient[authv1.LoginRequest, authv1.LoginResponse]

	free  chan struct{}
	taken atomic.Int32
}

func (d *deafDialog) Send(*authv1.LoginRequest) error {
	<-d.free
	d.taken.Add(1)
	return nil
}

// A question whose answer waits to be sent counts: nobody knows how long it will.
func TestAPluginThatReadsNoAnswersAsksOnlySoMuch(t *testing.T) {
	t.Parallel()
	const questions = 3 * maxAsks
	stream := &deafDialog{free: make(chan struct{})}
	x := &loginStream{stream: stream, dialog: &dialog{}, cancels: make(map[uint64]context.CancelFunc)}
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for id := range uint64(questions) {
			if err := x.answer(t.Context(), &authv1.LoginResponse{
				Id: id, Message: &authv1.LoginResponse_RedirectUrl{RedirectUrl: &authv1.RedirectUrlAsk{}},
			}); err != nil {
				t.Error(err)
			}
		}
	}()
	eventually(t, "there are as many as there may be", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.cancels) == maxAsks
	})
	close(stream.free)
	<-flooded
	x.asks.Wait()
	if n := stream.taken.Load(); n != questions || len(x.cancels) != 0 {
		t.Errorf("%d answers to %d questions, %d left", n, questions, len(x.cancels))
	}
}

// crowd is a dialog of people who do not come back.
type crowd struct {
	dialog

	asked *atomic.Int32
}

func (c *crowd) Callback(ctx context.Context, _ string) (auth.Secret, error) {
	c.asked.Add(1)
	<-ctx.Done()
	return auth.Secret{}, ctx.Err()
}
