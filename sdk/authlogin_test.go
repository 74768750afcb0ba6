package sdk

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// visitor is a provider whose login is a function.
type visitor struct {
	auth.Provider

	login func(context.Context, auth.Request, auth.Dialog) error
}

func (v *visitor) Login(ctx context.Context, req auth.Request, d auth.Dialog) error {
	return v.login(ctx, req, d)
}

// loginStream is the plugin's end of a login. The host's are its channels.
type loginStream struct {
	grpc.ServerStream

	ctx    context.Context
	in     chan *authv1.LoginRequest
	out    chan *authv1.LoginResponse
	broken error // of Send
	sent   int
}

func (s *loginStream) Context() context.Context { return s.ctx }

func (s *loginStream) Recv() (*authv1.LoginRequest, error) {
	select {
	case m, ok := <-s.in:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *loginStream) Send(m *authv1.LoginResponse) error {
	s.sent++ // without a lock: gRPC allows one Send at a time
	if s.broken != nil && m.GetDone() == nil {
		return s.broken
	}
	s.out <- m
	return nil
}

// answer is a value for the question m.
func answer(m *authv1.LoginResponse, value string) *authv1.LoginRequest {
	return &authv1.LoginRequest{Message: &authv1.LoginRequest_Answer{Answer: &authv1.LoginAnswer{Id: m.GetId(), Value: []byte(value)}}}
}

// conversation is a login under way.
type conversation struct {
	*loginStream

	set   *instances
	ended chan error    // of Login
	end   func()        // of the stream
	shut  chan struct{} // closed when the instance is
}

// visit begins a login in a bubble.
func visit(t *testing.T, login func(context.Context, auth.Request, auth.Dialog) error) *conversation {
	t.Helper()
	ctx, cancel := context.WithCancel(metadata.NewIncomingContext(t.Context(), metadata.Pairs(wire.TraceparentKey, "00-a")))
	c := &conversation{
		loginStream: &loginStream{ctx: ctx, in: make(chan *authv1.LoginRequest, 10), out: make(chan *authv1.LoginResponse, 10)},
		set:         newInstances(), ended: make(chan error, 1), end: cancel, shut: make(chan struct{}),
	}
	for name, p := range map[string]auth.Provider{"a": &visitor{login: login}, "plain": &door{}} {
		if _, err := c.set.open(ctx, name, wire.KindAuth, digestOf(nil, nil), func() (opened, error) {
			return opened{value: p, close: func(context.Context) error { close(c.shut); return nil }}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		defer cancel() // as gRPC does
		c.ended <- (&authServer{set: c.set}).Login(c)
	}()
	return c
}

func begin(instance string) *authv1.LoginRequest {
	return &authv1.LoginRequest{Message: &authv1.LoginRequest_Begin{Begin: &authv1.LoginBegin{
		Instance: instance, Request: wire.RequestTo(auth.Request{Identity: auth.Identity{ID: "me"}}),
	}}}
}

// done is how the login ended, as the host is told.
func (c *conversation) done(t *testing.T) error {
	t.Helper()
	m := <-c.out
	if m.GetDone() == nil {
		t.Fatalf("%v is no end", m)
	}
	if err := <-c.ended; err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if f := m.GetDone().GetFailure(); f != nil {
		return wire.FromFailure(f)
	}
	return nil
}

func TestALoginTalksToThePersonThroughTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		soon := time.Now().Add(time.Minute).UTC()
		c := visit(t, func(ctx context.Context, req auth.Request, d auth.Dialog) error {
			if req.Identity.ID != "me" || Traceparent(ctx) != "00-a" {
				t.Errorf("the request of %q in the trace %q", req.Identity.ID, Traceparent(ctx))
			}
			if url, err := d.RedirectURL(ctx); url != "http://127.0.0.1/cb" || err != nil {
				t.Errorf("RedirectURL: %q, %v", url, err)
			}
			for _, p := range []auth.Prompt{{URL: "https://login.example/", UserCode: "AB-CD", Message: "go\x1b[2J" + strings.Repeat("!", 2000), Expires: soon}, {}} {
				if err := d.Show(ctx, p); err != nil {
					t.Errorf("Show: %v", err)
				}
			}
			if s, err := d.Callback(ctx, "state-1"); s.Reveal() != "code=1" || err != nil {
				t.Errorf("Callback: %q, %v", s.Reveal(), err)
			}
			_, err := d.Callback(ctx, "state-2")
			if e, ok := errors.AsType[*wire.Error](err); !ok || e.Plugin != "host" || e.Method != "dialog" || !errors.Is(err, auth.ErrInteractionRequired) {
				t.Errorf("a question that failed: %v", err)
			}
			return auth.ErrCredentialsRejected
		})
		c.in <- begin("a")
		m := <-c.out
		if m.GetRedirectUrl() == nil {
			t.Errorf("first it asks %v", m)
		}
		c.in <- answer(&authv1.LoginResponse{Id: 99}, "nobody asked")
		c.in <- answer(m, "http://127.0.0.1/cb")
		c.in <- answer(m, "once more")
		c.in <- answer(m, "and again")
		m = <-c.out
		if p := m.GetShow(); p.GetUrl() != "https://login.example/" || p.GetUserCode() != "AB-CD" || p.GetMessage() != "go [2J"+strings.Repeat("!", 1018)+"…" ||
			!p.GetExpires().AsTime().Equal(soon) {
			t.Errorf("it shows %v", p)
		}
		c.in <- answer(m, "")
		m = <-c.out
		if p := m.GetShow(); p == nil || p.GetExpires() != nil {
			t.Errorf("it shows %v", p)
		}
		c.in <- answer(m, "")
		m = <-c.out
		if m.GetCallback().GetState() != "state-1" {
			t.Errorf("it waits for %v", m)
		}
		c.in <- answer(m, "code=1")
		m = <-c.out
		c.in <- &authv1.LoginRequest{Message: &authv1.LoginRequest_Answer{Answer: &authv1.LoginAnswer{
			Id: m.GetId(), Failure: wire.Failure(auth.ErrInteractionRequired),
		}}}
		if err := c.done(t); !errors.Is(err, auth.ErrCredentialsRejected) {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestTwoQuestionsAtOnceGetTheirOwnAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := visit(t, func(ctx context.Context, _ auth.Request, d auth.Dialog) error {
			var wg sync.WaitGroup
			for _, state := range []string{"one", "two"} {
				wg.Go(func() {
					if s, err := d.Callback(ctx, state); s.Reveal() != "of "+state || err != nil {
						t.Errorf("Callback of %s: %q, %v", state, s.Reveal(), err)
					}
				})
			}
			wg.Wait()
			return nil
		})
		c.in <- begin("a")
		first, second := <-c.out, <-c.out
		c.in <- answer(second, "of "+second.GetCallback().GetState())
		c.in <- answer(first, "of "+first.GetCallback().GetState())
		if err := c.done(t); err != nil {
			t.Error(err)
		}
	})
}

func TestAQuestionThatIsGivenUpIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := visit(t, func(ctx context.Context, _ auth.Request, d auth.Dialog) error {
			soon, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if _, err := d.Callback(soon, "x"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Callback: %v", err)
			}
			if n := len(d.(*remoteDialog).asks); n != 0 {
				t.Errorf("%d questions are remembered", n)
			}
			return nil
		})
		c.in <- begin("a")
		asked := <-c.out
		if m := <-c.out; m.GetCancel() == nil || m.GetId() != asked.GetId() {
			t.Errorf("it is followed by %v", m)
		}
		if err := c.done(t); err != nil {
			t.Error(err)
		}
	})
}

func TestALoginEndsWithItsHost(t *testing.T) {
	for name, breaks := range map[string]func(*conversation){
		"the host says no more": func(c *conversation) { close(c.in) },
		"the stream ends":       func(c *conversation) { c.end() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := visit(t, func(ctx context.Context, _ auth.Request, d auth.Dialog) error {
					_, err := d.Callback(ctx, "x")
					return err
				})
				c.in <- begin("a")
				<-c.out
				breaks(c)
				if m := <-c.out; m.GetCancel() == nil {
					t.Errorf("the question is followed by %v", m)
				}
				if err := c.done(t); !errors.Is(err, context.Canceled) {
					t.Errorf("it ended with %v", err)
				}
			})
		})
	}
}

func TestAQuestionThatCannotBeSentFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("the pipe is broken")
		c := visit(t, func(ctx context.Context, _ auth.Request, d auth.Dialog) error {
			if _, err := d.RedirectURL(ctx); !errors.Is(err, broken) {
				t.Errorf("RedirectURL: %v", err)
			}
			return nil
		})
		c.broken = broken
		c.in <- begin("a")
		if err := c.done(t); err != nil {
			t.Error(err)
		}
	})
}

func TestALoginThatPanicsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := visit(t, func(context.Context, auth.Request, auth.Dialog) error { panic("hush4711") })
		c.in <- begin("a")
		if err := c.done(t); !errors.Is(err, wire.ErrPanic) || strings.Contains(err.Error(), "hush4711") {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestALoginThatCannotBeginSaysWhy(t *testing.T) {
	for _, test := range []struct {
		first *authv1.LoginRequest
		is    error
		want  string
	}{
		{answer(&authv1.LoginResponse{}, "x"), nil, "the first message of a login was not begin"},
		{begin("b"), wire.ErrNoInstance, `"b"`},
		{begin("plain"), auth.ErrUnsupported, "the instance has no login"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := visit(t, nil)
			c.in <- test.first
			if err := <-c.ended; err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestAnInstanceIsClosedWhenItsLoginHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := visit(t, func(ctx context.Context, _ auth.Request, d auth.Dialog) error {
			_, err := d.RedirectURL(ctx)
			return err
		})
		c.in <- begin("a")
		m := <-c.out
		closed := make(chan error, 1)
		go func() { closed <- c.set.close(t.Context(), "a") }()
		synctest.Wait()
		select {
		case <-c.shut:
			t.Error("closed under a login")
		default:
		}
		c.in <- answer(m, "x")
		if err := errors.Join(c.done(t), <-closed); err != nil {
			t.Error(err)
		}
		<-c.shut
	})
}

// A provider may ask with a context of its own, and keep its dialog.
func TestADialogEndsWithItsLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept auth.Dialog
		asked := make(chan error, 1)
		c := visit(t, func(_ context.Context, _ auth.Request, d auth.Dialog) error {
			kept = d
			go func() {
				_, err := d.Callback(context.Background(), "x")
				asked <- err
			}()
			synctest.Wait()
			return nil
		})
		c.in <- begin("a")
		if m := <-c.out; m.GetCallback() == nil {
			t.Errorf("it asks %v", m)
		}
		if err := c.done(t); err != nil {
			t.Error(err)
		}
		if err := <-asked; !errors.Is(err, context.Canceled) {
			t.Errorf("the question under way: %v", err)
		}
		if _, err := kept.RedirectURL(context.Background()); !errors.Is(err, context.Canceled) {
			t.Errorf("a question afterwards: %v", err)
		}
		if len(c.out) > 0 {
			t.Errorf("after the end it says %v", <-c.out)
		}
	})
}
