package mcpool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// TestTheHandshakeOfAnExplicitIdentityHasTheTokenThatItsCallsBring has a server that
// answers nobody without a token, and takes a new one.
func TestTheHandshakeOfAnExplicitIdentityHasTheTokenThatItsCallsBring(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		var token atomic.Value
		token.Store("Bearer one")
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") != token.Load() {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			return false
		})
		p := s.open(func(c *Config) { c.Lazy, c.Min, c.NoListener = true, Off, true })
		call := func(token string) (string, error) {
			res, err := p.Call(t.Context(), "whoami", nil, WithIdentity(auth.Identity{ID: "alice"}), WithHeader("Authorization", token),
				WithReplay(ReplayReadOnly)) // a connection may break under it
			if err != nil {
				return "", err
			}
			return text(t, res, err), nil
		}
		if got, err := call("Bearer one"); got != "Bearer one" {
			t.Errorf("got %q, %v", got, err)
		}
		// All sessions are lost, and the old token is worth nothing.
		s.kill()
		s.start()
		token.Store("Bearer two")
		if got, err := call("Bearer two"); got != "Bearer two" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestACallThatMustNotBeRepeatedIsNotThoughItDidNotRun(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(func(c *Config) { c.Min, c.Max, c.NoListener = 1, 1, true })
	res, err := p.Call(t.Context(), "session", nil)
	gone := text(t, res, err)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get(sessionHeader) == gone {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	_, err = p.Call(t.Context(), "echo", nil, WithReplay(ReplayNever))
	var lost *SessionError
	if !errors.As(err, &lost) || !lost.Gone || lost.MayRun || s.ran("echo") != 0 {
		t.Errorf("got %v, and it ran %d times", err, s.ran("echo"))
	}
	if _, err := p.Call(t.Context(), "echo", nil, WithReplay(ReplayNever)); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestTheIdentityThatWasIdleLongestGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := Open(t.Context(), Config{Transport: InMemory(memoryServer()), MaxIdentities: 2, IdentityIdleTime: Off, ToolsTTL: Off})
		if err != nil {
			t.Fatal(err)
		}
		served := func(name string) bool {
			_, ok := p.identities.Load("i" + identityKey(auth.Identity{ID: name}))
			return ok
		}
		use := func(name string) {
			t.Helper()
			if _, err := p.ListTools(t.Context(), WithIdentity(auth.Identity{ID: name})); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		use("a")
		use("b")
		use("a")
		use("c")
		if !served("a") || served("b") || !served("c") {
			t.Errorf("served are a: %v, b: %v, c: %v", served("a"), served("b"), served("c"))
		}
		use("b") // and back
		if served("a") || !served("b") || !served("c") {
			t.Errorf("served are a: %v, b: %v, c: %v", served("a"), served("b"), served("c"))
		}
		shut(t, p)
	})
}

func TestSessionsAfterALossAreNotOpenedAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeServer(t, oldEra)
		var client *http.Client
		p := s.pool(func(c *Config) { client, c.Min, c.Max, c.NoListener = c.HTTP.Client, 1, 1, true })
		pauses := make(map[time.Duration]bool)
		for range 20 {
			time.Sleep(time.Minute)
			res, err := p.Call(t.Context(), "session", nil)
			gone := text(t, res, err)
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get(sessionHeader) == gone {
					w.WriteHeader(http.StatusNotFound)
					return true
				}
				return false
			})
			began := time.Now()
			if _, err := p.Call(t.Context(), "echo", nil); err != nil {
				t.Fatal(err)
			}
			pauses[time.Since(began)] = true // nothing else takes time here
		}
		for pause := range pauses {
			if pause > 50*time.Millisecond {
				t.Errorf("a pause of %v", pause)
			}
		}
		if len(pauses) < 10 {
			t.Errorf("only %d different pauses", len(pauses))
		}
		s.hush(p, client)
	})
}

func TestCommandsThatKeepEndingAreStartedEverLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crashes
		longest := time.Duration(0)
		for i := range 20 {
			c.note(time.Second)
			began := time.Now()
			if err := c.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := min(50*time.Millisecond<<min(i, 8), 10*time.Second)
			pause := time.Since(began)
			if pause < want/2 || pause > want*3/2 {
				t.Errorf("after %d ends a pause of %v, want about %v", i+1, pause, want)
			}
			longest = max(longest, pause)
		}
		if longest < 5*time.Second {
			t.Errorf("the longest pause is %v", longest)
		}
		// One that has lived counts as none.
		c.note(time.Minute)
		c.note(time.Second)
		began := time.Now()
		if err := c.wait(t.Context()); err != nil || time.Since(began) > 100*time.Millisecond {
			t.Errorf("after a long life a pause of %v (%v)", time.Since(began), err)
		}
	})
}

func TestAPauseAfterEndsOfACommandIsNamed(t *testing.T) {
	t.Parallel()
	p := openPool(t, Config{Command: Command{Path: "no-such-command-anywhere"}, Lazy: true, Min: Off,
		ConnectTimeout: 50 * time.Millisecond, AcquireTimeout: patient, ConnectRetries: Off})
	p.crashes.mu.Lock()
	p.crashes.streak, p.crashes.next = 3, time.Now().Add(time.Hour)
	p.crashes.mu.Unlock()
	_, err := p.Call(t.Context(), "echo", nil)
	if err == nil || !strings.Contains(err.Error(), "ended soon after its start 3 times") {
		t.Errorf("got %v", err)
	}
}

func TestTheLastWordsOfACommandAreBounded(t *testing.T) {
	t.Parallel()
	w := newTail(nil)
	for i := range 100_000 {
		fmt.Fprintf(w, "line %d\n", i)
	}
	if lines := w.lines(); len(lines) != tailLines || lines[tailLines-1] != "line 99999" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
	if cap(w.kept) > 8*tailBytes {
		t.Errorf("%d bytes are kept", cap(w.kept))
	}
	fmt.Fprint(w, strings.Repeat("x", 1<<20))
	if lines := w.lines(); len(lines) != 1 || len(lines[0]) > tailBytes {
		t.Errorf("%d lines of %d bytes", len(lines), len(lines[0]))
	}
}

func TestAnAnswerThatIsTooLargeNamesTheLimit(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(func(c *Config) { c.HTTP.MaxBodyBytes = 10_000 })
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Large") == "" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":{"x":%q}}`, strings.Repeat("x", 10_000))
		return true
	})
	_, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Large", "1"))
	if err == nil || !strings.Contains(err.Error(), "more than the 10000 bytes of HTTP.MaxBodyBytes") {
		t.Errorf("got %v", err)
	}
	if _, err := p.Call(t.Context(), "echo", nil); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestACallThatBringsTheServerDownIsNotRepeatedForEver(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(nil)
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		var deaths atomic.Int32
		s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && r.Header.Get("X-Deadly") != "" {
				deaths.Add(1)
				panic(http.ErrAbortHandler)
			}
			return false
		})
		_, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Deadly", "1"), WithReplay(ReplayReadOnly))
		if n := deaths.Load(); !errors.Is(err, ErrMayHaveRun) || n != maxUncertain+1 {
			t.Errorf("got %v after %d attempts, want %d", err, n, maxUncertain+1)
		}
	})
}

func TestTheConnectionsArePreparedForTheSizeOfThePool(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sessions, calls, want int }{{0, 0, 80}, {50, 0, 400}, {1, 1, 64}, {100, 100, 1024}} {
		cfg, _, _, err := Config{Endpoint: "http://localhost/", Max: c.sessions, CallsPerSession: c.calls}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		if _, own := newBase(&cfg); own.MaxIdleConnsPerHost != c.want {
			t.Errorf("%d sessions of %d calls: %d connections are kept, want %d", c.sessions, c.calls, own.MaxIdleConnsPerHost, c.want)
		}
	}
}

func TestTLSAndProxyOfTheConfigAreUsed(t *testing.T) {
	t.Parallel()
	s := newServer(t, modernEra)
	secure := httptest.NewUnstartedServer(s.handler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	p := openPool(t, Config{Endpoint: secure.URL, ConnectTimeout: patient, HTTP: HTTP{TLS: &tls.Config{RootCAs: roots}}})
	res, err := p.Call(t.Context(), "echo", textArgs{Text: "sealed"})
	if text(t, res, err) != "sealed" {
		t.Error("not what was sent")
	}
	var unknown *tls.CertificateVerificationError
	if _, err := Open(t.Context(), Config{Endpoint: secure.URL, ConnectTimeout: patient}); !errors.As(err, &unknown) {
		t.Errorf("without the certificate: %v", err)
	}
	// Nobody could resolve that name, and the proxy is the server.
	s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		r.Host = s.addr
		return false
	})
	proxy := &url.URL{Scheme: "http", Host: s.addr}
	p = openPool(t, Config{Endpoint: "http://server.invalid/mcp", ConnectTimeout: patient, HTTP: HTTP{Proxy: http.ProxyURL(proxy)}})
	res, err = p.Call(t.Context(), "echo", textArgs{Text: "by proxy"})
	if text(t, res, err) != "by proxy" {
		t.Error("not what was sent")
	}
}

func TestACallerWithLittlePatienceHasTheSubscriberHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := watchable(func(string, int) {})
		up := InMemory(m)
		var down atomic.Bool
		var tried atomic.Int32
		p, err := Open(t.Context(), Config{Min: Off, ProbeInterval: Off, Transport: inMemoryIf(up, &down, &tried)})
		if err != nil {
			t.Fatal(err)
		}
		none := func(context.Context, ResourceUpdate) {}
		if _, err := p.Subscribe(t.Context(), "test://a", none); err != nil {
			t.Fatal(err)
		}
		down.Store(true)
		for session := range m.Sessions() {
			_ = session.Close()
		}
		time.Sleep(10 * time.Minute) // the pauses are long by now
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		tried.Store(0)
		if _, err := p.Subscribe(ctx, "test://b", none); err == nil {
			t.Error("subscribed")
		}
		if n := tried.Load(); n < 3 {
			t.Errorf("tried %d times for somebody who waited half a second", n)
		}
		shut(t, p)
	})
}
