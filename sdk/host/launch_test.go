//go:build unix

package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// digest is the test binary's, computed once: it is large.
var digest = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
})

// part returns a Plugin that runs the test binary under the name of a part.
func part(t *testing.T, name string) Plugin {
	t.Helper()
	sum, err := digest()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(exe, path); err != nil {
		t.Fatal(err)
	}
	return Plugin{Path: path, SHA256: sum, Env: []string{"GORACE"}, Logger: testLogger(t), Limits: Limits{MemoryBytes: -1, Health: -1}}
}

// launch runs a plugin for the length of a test.
func launch(t *testing.T, p Plugin) *Running {
	t.Helper()
	r, err := Launch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := inTime(t, "the plugin closes", func() error { return r.Close(context.WithoutCancel(t.Context())) })
		if err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// open opens an instance for the length of a test.
func open(t *testing.T, r *Running, in Instance) auth.Provider {
	t.Helper()
	p, err := r.Auth(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func request(id string) auth.Request {
	return auth.Request{Identity: auth.Identity{ID: id}, Target: auth.Target{Name: "t", URL: "https://api.example/mcp"}}
}

// value asks for the Authorization header of an identity.
func value(t *testing.T, p auth.Provider, id string) string {
	t.Helper()
	c, err := p.Credentials(t.Context(), request(id))
	if err != nil {
		t.Fatalf("Credentials(%s): %v", id, err)
	}
	return c.Header.Get("Authorization")
}

func TestAnInstanceGetsItsConfigurationAndItsSecrets(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{
		Name: "a", Config: map[string]string{"greeting": "hi"}, Secrets: map[string]auth.Secret{"key": auth.NewSecret("s3cr3t")},
	})
	b := open(t, r, Instance{Name: "b", Config: map[string]string{"greeting": "ho"}})
	if got := value(t, a, "key"); got != "hi s3cr3t" {
		t.Errorf("instance a got %q", got)
	}
	if got := value(t, b, "key"); strings.TrimSpace(got) != "ho" {
		t.Errorf("instance b got %q", got)
	}
	if value(t, a, "pid") != value(t, b, "pid") {
		t.Error("two instances run in two processes")
	}
}

func TestAnInstanceTakesTheStructOfItsLibrary(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "carrier"))
	secret := map[string]auth.Secret{"key": auth.NewSecret("s3cr3t")}
	d, err := r.Transport(t.Context(), Instance{Name: "a", Config: &carrierConfig{Greeting: "hi", Wait: 90 * time.Second}, Secrets: secret})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(t, d, "about"); !strings.HasSuffix(got, " hi s3cr3t 1m30s") {
		t.Errorf("the instance got %q", got)
	}
	_, err = r.Transport(t.Context(), Instance{Name: "b", Config: carrierConfig{Key: auth.NewSecret("s3cr3t")}})
	if want := `host: config: Instance.Config.key is a secret: leave it out here, and give it in Instance.Secrets as "key"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	type withHook struct {
		Hook func() `json:"-"`
	}
	for name, config := range map[string]any{
		"Instance.Config.Hook is set": withHook{func() {}}, "Instance.Config cannot be used: ": []string{"x"}, "Instance.Config.a is nil": map[string]any{"a": nil},
	} {
		if _, err := r.Transport(t.Context(), Instance{Name: "c", Config: config}); !strings.Contains(fmt.Sprint(err), "host: config: "+name) {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

func answer(t *testing.T, d transport.Dialer, message string) string {
	t.Helper()
	conn, err := d.Dial(t.Context(), transport.Open{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context(), transport.Done)
	if err := conn.Send(t.Context(), []byte(message)); err != nil {
		t.Fatal(err)
	}
	m, err := conn.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(m)
}

func TestErrorsCrossWithAllThatCallersBranchOn(t *testing.T) {
	t.Parallel()
	p := open(t, launch(t, part(t, "good")), Instance{Name: "a"})
	for id, check := range map[string]func(error) bool{
		"rejected": func(err error) bool { return errors.Is(err, auth.ErrCredentialsRejected) && asError(err).Downstream },
		"throttled": func(err error) bool {
			e, ok := errors.AsType[*auth.ThrottledError](err)
			return ok && e.RetryAfter.Seconds() == 7 && asError(err).Downstream
		},
		"login": func(err error) bool { return errors.Is(err, auth.ErrInteractionRequired) },
		"panic": func(err error) bool {
			return !strings.Contains(err.Error(), "hush4711") && strings.Contains(err.Error(), "panicked") && !asError(err).Downstream
		},
		"nilmap": func(err error) bool { return strings.Contains(err.Error(), "nil map") },
	} {
		_, err := p.Credentials(t.Context(), request(id))
		if err == nil || !check(err) {
			t.Errorf("%s: got %v", id, err)
		}
	}
	if got := value(t, p, "key"); got == "" {
		t.Log("still answers")
	}
}

func asError(err error) *Error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return &Error{}
	}
	return e
}

func TestAWrongConfigurationNamesItsFields(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	for name, test := range map[string]struct {
		in   Instance
		want []string
	}{
		"unknown field":    {Instance{Config: map[string]any{"greetin": "x"}}, []string{"greetin"}},
		"wrong type":       {Instance{Config: map[string]any{"greeting": 7}}, []string{"greeting"}},
		"secret in config": {Instance{Config: map[string]any{"key": "x"}}, []string{"key"}},
		"unknown secret":   {Instance{Secrets: map[string]auth.Secret{"kee": auth.NewSecret("x")}}, []string{"kee"}},
		"the factory's":    {Instance{Config: map[string]any{"refuse": "no"}}, []string{"refuse", "key"}},
	} {
		test.in.Name = name
		_, err := r.Auth(t.Context(), test.in)
		for _, field := range test.want {
			if !hasField(err, field) {
				t.Errorf("%s: %v does not name %q", name, err, field)
			}
		}
	}
	if n := r.Stats().Instances; n != 0 {
		t.Errorf("%d instances are open, want none", n)
	}
}

// hasField reports whether a *auth.ConfigError for the field is in the error.
func hasField(err error, field string) bool {
	switch e := err.(type) { //nolint:errorlint // each unwraps
	case nil:
		return false
	case *auth.ConfigError:
		return e.Field == field
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if hasField(err, field) {
				return true
			}
		}
	case interface{ Unwrap() error }:
		return hasField(e.Unwrap(), field)
	}
	return false
}

func TestChallengeSignAndLoginCross(t *testing.T) {
	t.Parallel()
	p := open(t, launch(t, part(t, "good")), Instance{Name: "a"})
	ch := auth.Challenge{
		Sent: auth.HTTPRequest{Method: "POST", URL: "https://api.example/mcp"}, Generation: "g1",
		Status: 401, Header: http.Header{"Www-Authenticate": {"Bearer"}}, Body: []byte("body"),
	}
	if o, err := p.Challenge(t.Context(), request("x"), ch); o != auth.Retry || err != nil {
		t.Errorf("Challenge: %v, %v", o, err)
	}
	ch.Status = 403
	if o, err := p.Challenge(t.Context(), request("x"), ch); o != auth.NeedsLogin || err != nil {
		t.Errorf("Challenge: %v, %v", o, err)
	}
	s, ok := auth.AsSigner(p)
	if !ok {
		t.Fatal("the instance does not sign")
	}
	hr := auth.HTTPRequest{Method: "POST", URL: "https://api.example/mcp?a=%2F", BodySHA256: [32]byte{0xab, 0xcd}}
	sig, err := s.Sign(t.Context(), request("x"), hr)
	if err != nil || sig.Header.Get("Authorization") != "sig POST https://api.example/mcp?a=%2F abcd" ||
		sig.RawQuery != "signed=1" || sig.Generation != "k1" {
		t.Errorf("Sign: %v %q, %v", sig.Header, sig.RawQuery, err)
	}
	if _, err := s.Sign(t.Context(), request("panic"), hr); err == nil || strings.Contains(err.Error(), "hush4711") {
		t.Errorf("Sign panicked: %v", err)
	}
	i, ok := auth.AsInteractive(p)
	if !ok {
		t.Fatal("the instance has no login")
	}
	d := &dialog{query: "code=4711&state=state-1"}
	if err := i.Login(t.Context(), request("x"), d); err != nil {
		t.Errorf("Login: %v", err)
	}
	if d.shown.URL != "https://login.example/?back=http://127.0.0.1/cb" || d.shown.UserCode != "AB-CD" {
		t.Errorf("shown: %+v", d.shown)
	}
	if err := i.Login(t.Context(), request("x"), &dialog{query: "nope"}); !errors.Is(err, auth.ErrCredentialsRejected) {
		t.Errorf("Login: %v", err)
	}
}

type dialog struct {
	query string
	shown auth.Prompt
}

func (d *dialog) RedirectURL(context.Context) (string, error) { return "http://127.0.0.1/cb", nil }

func (d *dialog) Show(_ context.Context, p auth.Prompt) error { d.shown = p; return nil }

func (d *dialog) Callback(context.Context, string) (auth.Secret, error) {
	return auth.NewSecret(d.query), nil
}

func TestACrashCostsNobodyACall(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	p := open(t, r, Instance{Name: "a", Config: map[string]string{"greeting": "hi"}})
	if why := r.Stats().LastFailure; why != "" {
		t.Errorf("before any failure, the last is %q", why)
	}
	if got := value(t, p, "exitonce"); got != "second" {
		t.Errorf("got %q", got)
	}
	if got := value(t, p, "key"); strings.TrimSpace(got) != "hi" {
		t.Errorf("after the restart the instance answers %q", got)
	}
	if s := r.Stats(); s.Starts != 2 || !strings.Contains(s.LastFailure, "exit status 7") {
		t.Errorf("%d starts, want 2; the last failure is %q, want the exit status 7 in it", s.Starts, s.LastFailure)
	}
}

func TestARefusedBinarySaysWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("neither program nor script"), 0o700); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o700); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Plugin)
		part   string
		want   string
	}{
		"wrong hash":         {func(p *Plugin) { p.SHA256 = strings.Repeat("0", 64) }, "good", "has the SHA-256"},
		"garbage":            {nil, "garbage", `"hello, world" where the handshake was due`},
		"exits at once":      {nil, "exits", "exit status 3"},
		"says why":           {nil, "exits", "no such database"},
		"a socket of others": {nil, "elsewhere", "outside the folder"},
		"too long a line":    {nil, "endless", "where the handshake was due"},
		"other protocol":     {nil, "oldcore", "version 99 of the base protocol"},
		"other majors":       {nil, "future", "offers auth [7 8], telepathy [1]"},
		"not a program":      {func(p *Plugin) { p.Path, p.SHA256, p.AllowUnverified = script, "", true }, "good", "cannot be executed here"},
		"an empty file":      {func(p *Plugin) { p.Path, p.SHA256, p.AllowUnverified = empty, "", true }, "good", "cannot be executed here"},
		"says nothing":       {func(p *Plugin) { p.Limits.Start = 50 * time.Millisecond }, "mute", "did not say a word"},
		"not there":          {func(p *Plugin) { p.Path += "x" }, "good", "cannot be opened"},
		"a pipe":             {func(p *Plugin) { p.Path = pipe }, "good", "is not a file"},
		"a folder":           {func(p *Plugin) { p.Path = filepath.Dir(p.Path) }, "good", "is not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := part(t, test.part)
			if test.change != nil {
				test.change(&p)
			}
			r, err := Launch(t.Context(), p)
			if err == nil {
				r.Close(t.Context())
				t.Fatal("it was launched")
			}
			le, ok := errors.AsType[*LaunchError](err)
			if !ok || le.Path != p.Path || le.Remedy == "" || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want a LaunchError with %q", err, test.want)
			}
		})
	}
}
