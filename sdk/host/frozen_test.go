//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// builtV1 is the plugin of testdata/frozenv1, which knows no more than version 1 of the
// protocol and shares no code with us. It is built once.
var builtV1 = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "frozenv1-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "frozenv1")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".")
	cmd.Dir = filepath.Join("testdata", "frozenv1")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return os.ReadFile(path)
})

func frozenV1(t *testing.T) Plugin {
	t.Helper()
	program, err := builtV1()
	if err != nil {
		t.Fatal(err)
	}
	p := part(t, "good")
	p.Path, p.SHA256, p.AllowUnverified, p.Env = filepath.Join(t.TempDir(), "frozenv1"), "", true, []string{"FROZEN_*"}
	if err := os.WriteFile(p.Path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPluginBuiltForVersion1IsStillServed(t *testing.T) {
	p := frozenV1(t)
	for name, kase := range map[string]struct {
		tls    bool
		listen string
	}{
		"over a Unix socket": {}, "with mutual TLS": {tls: true}, "over TCP": {tls: true, listen: "127.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := p
			p.MutualTLS = kase.tls
			t.Setenv("FROZEN_LISTEN", kase.listen)
			r := launch(t, p)
			secrets := map[string]auth.Secret{"key": auth.NewSecret("s3cr3t")}
			config := map[string]string{"greeting": "hi"}
			a := open(t, r, Instance{Name: "a", Config: config, Secrets: secrets})
			d, err := r.Transport(t.Context(), Instance{Name: "t", Config: config})
			if err != nil {
				t.Fatal(err)
			}
			look, err := r.Probe(t.Context(), Instance{Name: "p"})
			if err != nil {
				t.Fatal(err)
			}
			sink, err := r.Metrics(t.Context(), Instance{Name: "m"})
			if err != nil {
				t.Fatal(err)
			}
			serveAuth(t, a, r.Stats().PID)
			serveTransport(t, d)
			serveProbe(t, look)
			serveMetrics(t, sink)
			// A crash: all of them are there again.
			if _, err := a.Credentials(t.Context(), request("exit")); asError(err).Ran != true {
				t.Errorf("it exits each time it is asked to: %v", err)
			}
			serveAuth(t, a, 0)
			serveTransport(t, d)
			serveProbe(t, look)
			serveMetrics(t, sink)
			for _, c := range []interface{ Close(context.Context) error }{a, d, look, sink} {
				if err := c.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func serveAuth(t *testing.T, a auth.Provider, pid int) {
	t.Helper()
	req := request("me")
	req.Identity.Subject = func(context.Context) (auth.Secret, error) { return auth.NewSecret("sub"), nil }
	c, err := a.Credentials(t.Context(), req)
	got := strings.Fields(c.Header.Get("Authorization"))
	if err != nil || len(got) != 5 || !slices.Equal(got[:4], []string{"hi", "s3cr3t", "me", "sub"}) || pid != 0 && got[4] != fmt.Sprint(pid) ||
		c.Generation != "g1" || c.Expires.Unix() != 2000000000 {
		t.Errorf("Credentials: %q, %q, %v, %v", got, c.Generation, c.Expires, err)
	}
	if _, err := a.Credentials(t.Context(), request("rejected")); !errors.Is(err, auth.ErrCredentialsRejected) || !asError(err).Downstream {
		t.Errorf("Credentials, rejected: %v", err)
	}
	hr := auth.HTTPRequest{Method: "POST", URL: "https://api.example/mcp"}
	if o, err := a.Challenge(t.Context(), req, auth.Challenge{Sent: hr, Generation: "g1", Status: 401, Body: []byte("body")}); o != auth.Retry || err != nil {
		t.Errorf("Challenge: %v, %v", o, err)
	}
	s, ok := auth.AsSigner(a)
	o, okO := auth.AsObserver(a)
	i, okI := auth.AsInteractive(a)
	if !ok || !okO || !okI {
		t.Fatal("capabilities are lost")
	}
	if h := o.ObservedHeaders(); !slices.Equal(h, []string{"X-Seen"}) {
		t.Errorf("it observes %q", h)
	}
	eventually(t, "an observation arrives", func() bool {
		o.Observe(request("me"), auth.Observation{URL: hr.URL, Status: 200, Header: http.Header{"X-Seen": {"1"}}})
		sig, err := s.Sign(t.Context(), request("me"), hr)
		if err != nil || sig.RawQuery != "s=1" || sig.Generation != "k1" {
			t.Fatalf("Sign: %+v, %v", sig, err)
		}
		got := sig.Header.Get("Authorization")
		return strings.HasPrefix(got, "signed POST https://api.example/mcp ") && !strings.HasSuffix(got, " 0")
	})
	if _, err := s.Sign(t.Context(), request("rejected"), hr); !errors.Is(err, auth.ErrCredentialsRejected) {
		t.Errorf("Sign, rejected: %v", err)
	}
	dialog := &dialog{query: "code=1&state=s"}
	if err := i.Login(t.Context(), req, dialog); err != nil || dialog.shown.URL != "https://login.example/?back=http://127.0.0.1/cb" {
		t.Errorf("Login: %q, %v", dialog.shown.URL, err)
	}
	dialog.query = "code=2"
	if err := i.Login(t.Context(), req, dialog); !errors.Is(err, auth.ErrCredentialsRejected) {
		t.Errorf("Login, rejected: %v", err)
	}
}

func serveTransport(t *testing.T, d transport.Dialer) {
	t.Helper()
	if got := answer(t, d, strings.Repeat("message ", 100)); got != "hi "+strings.Repeat("message ", 100) {
		t.Errorf("a session answers %q", got)
	}
	refused, ok := errors.AsType[*transport.RefusedError](dialError(d.Dial(t.Context(), transport.Open{Target: transport.Target{Name: "refuse"}})))
	if !ok || refused.Status != 401 {
		t.Errorf("a refusal: %v", refused)
	}
	conn, err := d.Dial(t.Context(), transport.Open{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context(), transport.Done)
	if err := conn.Send(t.Context(), []byte("end")); err != nil {
		t.Error(err)
	}
	_, err = conn.Receive(t.Context())
	if ended, ok := errors.AsType[*transport.CloseError](err); !ok || ended.Reason != transport.SessionGone {
		t.Errorf("the end of a session: %v", err)
	}
}

func dialError(_ transport.Conn, err error) error { return err }

func serveProbe(t *testing.T, p probe.Prober) {
	t.Helper()
	target := &resource{id: "r"}
	v, err := p.Probe(t.Context(), target)
	if v.Status != probe.Degraded || v.Reason != `pong{"a":1} not listed` || err != nil || target.unlisted.Load() != 0 {
		t.Errorf("Probe: %v, %v", v, err)
	}
}

func serveMetrics(t *testing.T, s metrics.Sink) {
	t.Helper()
	if res, err := s.Export(t.Context(), batch("x")); res.Rejected != 1 || res.Reason != "m has 1 scopes" || err != nil {
		t.Errorf("Export: %+v, %v", res, err)
	}
	if _, err := s.Export(t.Context(), batch("permanent")); !errors.Is(err, metrics.ErrPermanent) {
		t.Errorf("Export, permanent: %v", err)
	}
}

// Every local process can connect to a port.
func TestAPluginOnTCPNeedsMutualTLSAndLoopback(t *testing.T) {
	p := frozenV1(t)
	for name, kase := range map[string]struct {
		tls          bool
		listen, want string
	}{
		"without certificates": {false, "127.0.0.1:0", "needs MutualTLS"},
		"not on loopback":      {true, "0.0.0.0:0", "not loopback"},
	} {
		t.Run(name, func(t *testing.T) {
			p := p
			p.MutualTLS = kase.tls
			t.Setenv("FROZEN_LISTEN", kase.listen)
			r, err := Launch(t.Context(), p)
			if err == nil {
				t.Fatal("it was launched", r.Close(t.Context()))
			}
			if le, ok := errors.AsType[*LaunchError](err); !ok || !strings.Contains(err.Error(), kase.want) {
				t.Errorf("got %v, want a LaunchError with %q", le, kase.want)
			}
		})
	}
}
