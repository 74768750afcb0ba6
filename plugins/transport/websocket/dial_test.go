package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// asked is a provider that keeps what it is asked for.
type asked struct{ got chan auth.Request }

func (p *asked) Credentials(_ context.Context, r auth.Request) (auth.Credentials, error) {
	p.got <- r
	return auth.Credentials{Header: http.Header{"X-All": {"auth"}}}, nil
}

func (p *asked) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	return auth.GiveUp, nil
}

func (p *asked) Close(context.Context) error { return nil }

func TestAProviderKnowsWhoDialsWhat(t *testing.T) {
	t.Parallel()
	headers := make(chan http.Header, 1)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		headers <- r.Header.Clone()
		serveMCP(w, r)
	})
	p := &asked{make(chan auth.Request, 1)}
	no := errors.New("no token today")
	open := transport.Open{
		Target: transport.Target{Name: "tools"}, Header: http.Header{"X-All": {"open"}},
		Identity: transport.Identity{
			ID: "alice", Attrs: map[string]string{"team": "red"},
			Subject: func(context.Context) (string, error) { return "her token", no },
		},
	}
	mustDial(t, url, open, func(c *Config) {
		c.Auth, c.Headers = p, map[string]auth.Secret{"X-All": auth.NewSecret("config")}
	})
	got := <-p.got
	want := auth.Target{Name: "tools", URL: "http" + strings.TrimPrefix(url, "ws")}
	if got.Target != want || got.Identity.ID != "alice" || got.Identity.Attrs["team"] != "red" {
		t.Errorf("asked for %+v", got)
	}
	got.Identity.Attrs["team"] = "blue"
	if open.Identity.Attrs["team"] != "red" {
		t.Error("the provider changed what the caller gave")
	}
	if token, err := got.Identity.Subject(t.Context()); token.Reveal() != "her token" || !errors.Is(err, no) {
		t.Errorf("the subject is %q, %v", token.Reveal(), err)
	}
	if h := <-headers; len(h["X-All"]) != 1 || h.Get("X-All") != "auth" {
		t.Errorf("of three headers with a name, %q went out, and not the provider's alone", h["X-All"])
	}
	nobody := open
	nobody.Identity = transport.Identity{}
	mustDial(t, url, nobody, func(c *Config) { c.Auth = p })
	if (<-p.got).Identity.Subject != nil {
		t.Error("an identity without a token has one")
	}
}

func TestARefusalSaysWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer scope="tools"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	var refused *transport.RefusedError
	_, err := dial(t, url, transport.Open{}, nil)
	if !errors.As(err, &refused) || refused.Header.Get("WWW-Authenticate") != `Bearer scope="tools"` {
		t.Errorf("got %v", err)
	}
}

// handshake is a server that answers with 101 and these lines.
func handshake(t *testing.T, lines string) (url string, ended <-chan error) {
	t.Helper()
	end := make(chan error, 1)
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		line, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer line.Close()
		fmt.Fprint(line, "HTTP/1.1 101 Switching Protocols\r\n"+lines+"\r\n")
		_, err = io.Copy(io.Discard, rw) // nil at the end of the line
		end <- err
	}), end
}

func TestAHandshakeThatBreaksTheRulesIsARefusal(t *testing.T) {
	t.Parallel()
	url, ended := handshake(t, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n")
	var refused *transport.RefusedError
	if _, err := dial(t, url, transport.Open{}, nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "breaks the rules") {
		t.Errorf("got %v", err)
	}
	<-ended // the line is cut, or this never comes
}

func TestNothingIsLeftOfADialThatFailed(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"another subprotocol": 0, "refused": http.StatusForbidden, "busy": http.StatusServiceUnavailable} {
		var s *httptest.Server
		open := make(chan struct{}, 1)
		s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status == 0 {
				line, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer line.Close()
				fmt.Fprintf(line, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
					"Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Accept: %s\r\n\r\n", accepted(r))
				_, _ = io.Copy(io.Discard, rw)
				open <- struct{}{}
				return
			}
			w.Header().Set("Content-Length", "4000") // and that much never comes
			w.WriteHeader(status)
			_, _ = w.Write(make([]byte, 2000))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done() // the line is cut
			open <- struct{}{}
		}))
		s.Start()
		if _, err := dial(t, "ws"+strings.TrimPrefix(s.URL, "http"), transport.Open{}, nil); err == nil {
			t.Errorf("%s: it succeeded", name)
		}
		<-open
		s.Close()
	}
}

func TestALineThatIsCutIsNotDialledAgain(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	over := func() error { // the end that the other side sees
		there, err := l.Accept()
		if err != nil {
			return err
		}
		defer there.Close()
		_, err = there.Read(make([]byte, 1))
		return err
	}
	var line cutter
	for range 2 { // the second attempt ends the first
		if _, err := line.dial(t.Context(), "tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	if err := over(); err == nil {
		t.Error("the line of the attempt before goes on")
	}
	line.cut()
	if err := over(); err == nil {
		t.Error("a line that was cut goes on")
	}
	if _, err := line.dial(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dialled after the cut: %v", err)
	}
	if err := over(); err == nil {
		t.Error("the line that was dialled after the cut goes on")
	}
}
