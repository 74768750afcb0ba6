//go:build unix

package host

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

func TestANameIsOneInstancesAtATime(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "hi"}})
	_, err := r.Auth(t.Context(), Instance{Name: "a", Config: goodConfig{Greeting: "hi"}})
	if e, ok := errors.AsType[*ConfigError](err); !ok || e.Field != "Instance.Name" || !strings.Contains(e.Problem, "open already") {
		t.Errorf("a second one: %v", err)
	}
	if got := value(t, a, "key"); got != "hi" || r.Stats().Instances != 1 {
		t.Errorf("the first answers %q, of %d", got, r.Stats().Instances)
	}
	for _, name := range []string{"", strings.Repeat("n", maxInstanceName+1)} {
		_, err := r.Auth(t.Context(), Instance{Name: name})
		if e, ok := errors.AsType[*ConfigError](err); !ok || e.Field != "Instance.Name" {
			t.Errorf("a name of %d bytes: %v", len(name), err)
		}
	}
	open(t, r, Instance{Name: strings.Repeat("n", maxInstanceName)})
}

func TestAnInstanceIsOpenedAgainAsItWas(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	raw := json.RawMessage(`{"greeting":"hi"}`)
	a := open(t, r, Instance{Name: "a", Config: raw})
	copy(raw, `{"greeting":"no"}`) // the caller's own
	if got := value(t, a, "exitonce"); got != "second" {
		t.Errorf("got %q", got)
	}
	if got := value(t, a, "key"); got != "hi" {
		t.Errorf("it is %q now", got)
	}
}

func TestAnErrorSaysOfWhichInstanceAndMethodItIs(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	_, err := r.Auth(t.Context(), Instance{Name: "b", Config: goodConfig{Refuse: "no"}})
	if e := asError(err); e.Plugin != "good" || e.Instance != "b" || e.Method != "Open" {
		t.Errorf("%q %q %q: %v", e.Plugin, e.Instance, e.Method, err)
	}
	a := open(t, r, Instance{Name: "a"})
	_, err = a.Credentials(t.Context(), request("rejected"))
	if e := asError(err); e.Plugin != "good" || e.Instance != "a" || e.Method != "Credentials" {
		t.Errorf("%q %q %q: %v", e.Plugin, e.Instance, e.Method, err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Credentials(t.Context(), request("pid")); !errors.Is(err, auth.ErrClosed) || asError(err).Instance != "a" {
		t.Errorf("a call on an instance that is closed: %v", err)
	}
}

func TestAnOpeningIsBoundedByTheLimitOfAStart(t *testing.T) {
	t.Parallel()
	p, _ := stubbornPart(t)
	r := launch(t, p)
	r.mu.Lock()
	r.plugin.Limits.Start = 50 * time.Millisecond // it has started
	r.plugin.Limits.Call = 1000 * time.Hour
	r.mu.Unlock()
	err := inTime(t, "the opening is given up", func() error {
		_, err := r.Auth(context.Background(), Instance{Name: "a", Config: stubbornConfig{Wait: filepath.Join(t.TempDir(), "never")}})
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestACapabilityThatThePluginDidNotDeclareIsNotUsed(t *testing.T) {
	t.Parallel()
	p, _ := stubbornPart(t)
	a := open(t, launch(t, p), Instance{Name: "a", Config: stubbornConfig{Boast: "sign"}})
	if _, ok := auth.AsSigner(a); ok {
		t.Error("it signs")
	}
}

// lostSlow opens an instance a that the plugin loses. Its next call opens it again, which
// leaves "opening" in its folder, and waits there for "go".
func lostSlow(t *testing.T) (r *Running, a auth.Provider, state string) {
	t.Helper()
	p := part(t, "slow")
	p.StateDir = filepath.Join(t.TempDir(), "state")
	r = launch(t, p)
	state = filepath.Join(p.StateDir, "instances", "i-a")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	pass := filepath.Join(state, "go")
	writeFile(t, pass, "", 0o600)
	a = open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "slow"}})
	behindTheBack(t, r, "a")
	if err := errors.Join(os.Remove(pass), os.Remove(filepath.Join(state, "opening"))); err != nil {
		t.Fatal(err)
	}
	return r, a, state
}

// What closes it may come before what opens it.
func TestAnInstanceThatIsClosedWhileACallOpensItAgainStaysClosed(t *testing.T) {
	t.Parallel()
	r, a, state := lostSlow(t)
	called := make(chan error, 1)
	go func() {
		_, err := a.Credentials(context.Background(), request("pid"))
		called <- err
	}()
	eventually(t, "the call opens it", func() bool { return exists(filepath.Join(state, "opening")) })
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	writeFile(t, filepath.Join(state, "go"), "", 0o600)
	if err := <-called; !errors.Is(err, auth.ErrClosed) {
		t.Errorf("the call: %v", err)
	}
	b := open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "other"}})
	if got := value(t, b, "key"); got != "other" {
		t.Errorf("got %q", got)
	}
}

// The plugin would close the other, for it knows no more than the name.
func TestAnInstanceThatIsClosedWhileACallOpensItAgainEndsNoOtherOfItsName(t *testing.T) {
	t.Parallel()
	r, a, state := lostSlow(t)
	called, opened := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(called)
		_, _ = a.Credentials(context.Background(), request("pid"))
	}()
	eventually(t, "the call opens it", func() bool { return exists(filepath.Join(state, "opening")) })
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	go func() {
		_, err := r.Auth(context.Background(), Instance{Name: "a", Config: goodConfig{Greeting: "other"}})
		opened <- err
	}()
	eventually(t, "the other is open, or waits for the name", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(opened) == 1 || r.instances["a"] != nil && r.instances["a"].gone != nil
	})
	writeFile(t, filepath.Join(state, "go"), "", 0o600)
	if err := <-opened; err != nil {
		t.Error(err)
	}
	<-called
	if exists(filepath.Join(state, "closed-other")) {
		t.Error("the other was closed")
	}
}

func TestEveryNameOfAnInstanceHasAFolder(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	dirs := make(map[string]string)
	for _, name := range []string{
		"a", "a/b", "..", strings.Repeat("x", maxInstanceName), strings.Repeat("ä", maxInstanceName/2), strings.Repeat("ä", maxInstanceName/2-1) + "ö",
	} {
		dir := value(t, open(t, r, Instance{Name: name}), "state")
		if before, taken := dirs[dir]; taken || filepath.Dir(dir) != filepath.Join(r.run.path, "state", "instances") {
			t.Errorf("%q has %s, as has %q", name, dir, before)
		}
		dirs[dir] = name
	}
}

// behindTheBack closes an instance in the plugin, and the host does not know.
func behindTheBack(t *testing.T, r *Running, name string) {
	t.Helper()
	r.mu.Lock()
	base := r.proc.base
	r.mu.Unlock()
	if _, err := base.CloseInstance(t.Context(), &basev1.CloseInstanceRequest{Instance: name}); err != nil {
		t.Fatal(err)
	}
}

func TestALoginOpensAnInstanceThatThePluginDoesNotHave(t *testing.T) {
	t.Parallel()
	r, _, i := interactive(t)
	behindTheBack(t, r, "a")
	if err := i.Login(t.Context(), request("x"), &dialog{query: "code=4711&state=state-1"}); err != nil {
		t.Errorf("Login: %v", err)
	}
}

func TestAChallengeOfAnotherOriginIsNotShownAndOneMayNeedALogin(t *testing.T) {
	t.Parallel()
	a := open(t, launch(t, part(t, "good")), Instance{Name: "a"})
	ch := auth.Challenge{Sent: auth.HTTPRequest{Method: "POST", URL: "https://evil.example/mcp"}, Status: 403}
	if o, err := a.Challenge(t.Context(), request("x"), ch); o != auth.GiveUp || err == nil || !strings.Contains(err.Error(), "not to the origin") {
		t.Errorf("of another origin: %v, %v", o, err)
	}
	ch.Sent.URL, ch.Status = "https://api.example/mcp", 407
	if o, err := a.Challenge(t.Context(), request("x"), ch); o != auth.NeedsLogin || !errors.Is(err, auth.ErrInteractionRequired) {
		t.Errorf("that needs a login: %v, %v", o, err)
	}
}

func TestASubjectIsAskedForOnceHoweverOftenTheCallIsRepeated(t *testing.T) {
	t.Parallel()
	a := open(t, launch(t, part(t, "good")), Instance{Name: "a"})
	asked := 0
	req := request("exitonce")
	req.Identity.Subject = func(context.Context) (auth.Secret, error) { asked++; return auth.NewSecret("sub"), nil }
	c, err := a.Credentials(t.Context(), req)
	if err != nil || c.Header.Get("Authorization") != "second" || asked != 1 {
		t.Errorf("%v, %v, asked %d times", c, err, asked)
	}
}

func TestAnInstanceIsNotTakenBackUnderTheNameOfAnotherOrAfterClose(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	old := a.(*authProvider).instance
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "other"}})
	r.takeBack(old, time.Minute)
	if got := value(t, b, "key"); got != "other" || r.Stats().Instances != 1 {
		t.Errorf("%q answers, of %d", got, r.Stats().Instances)
	}
	if err := errors.Join(b.Close(t.Context()), r.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	r.takeBack(old, time.Minute)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.instances) != 0 {
		t.Error("it is taken back from a plugin that is closed")
	}
}
