package mcpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// sseEra is the transport of protocol version 2024-11-05: a stream for each
// session, and POSTs beside it.
const sseEra era = "sse"

func (s *server) openSSE(change func(*Config)) *Pool {
	s.t.Helper()
	return s.open(func(c *Config) {
		c.SSE = true
		if change != nil {
			change(c)
		}
	})
}

func TestSSESessionsLastLongerThanTheirOpening(t *testing.T) {
	t.Parallel()
	s := newServer(t, sseEra)
	p := s.openSSE(func(c *Config) { c.Min, c.Max, c.CallsPerSession = 2, 2, 4 })
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			want := fmt.Sprint(i)
			res, err := p.Call(t.Context(), "echo", map[string]any{"text": want})
			if err != nil || text(t, res, err) != want {
				t.Errorf("call %d: %v (%v)", i, res, err)
			}
		})
	}
	wg.Wait()
	if st := p.Stats(); st.Sessions.Opened != 2 || st.Replays != 0 || isModern(st.Protocol) {
		t.Errorf("%d sessions opened for 2, %d calls repeated, protocol %s", st.Sessions.Opened, st.Replays, st.Protocol)
	}
	tools, err := p.ListTools(t.Context())
	if err != nil || !names(tools)["echo"] {
		t.Errorf("%d tools, %v", len(tools), err)
	}
	s.offer("added") // is announced on the streams of the sessions
	poll(t, "the new tool to be listed", func() bool {
		tools, err := p.ListTools(t.Context())
		return err == nil && names(tools)["added"]
	})
}

func TestAnSSEServerIsNotAskedForAVersionThatHasNoSSE(t *testing.T) {
	t.Parallel()
	s := newServer(t, sseEra)
	var asked atomic.Bool
	s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && method(r) == "server/discover" {
			asked.Store(true)
		}
		return false
	})
	p := s.openSSE(nil)
	if _, err := p.Call(t.Context(), "echo", nil); err != nil || asked.Load() {
		t.Errorf("asked: %v, %v", asked.Load(), err)
	}
}

func TestSSESessionsAreProbedAndReplacedAfterARestart(t *testing.T) {
	t.Parallel()
	s := newServer(t, sseEra)
	p := s.openSSE(func(c *Config) { c.Min, c.Max = 2, 2; c.Replay = ReplayReadOnly })
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := p.Do(t.Context(), func(ctx context.Context, l *Session) error { return l.alive(ctx) })
	if err != nil {
		t.Errorf("the probe: %v", err)
	}
	s.kill()
	s.start()
	if res, err := p.Call(t.Context(), "echo", map[string]any{"text": "x"}); err != nil || text(t, res, err) != "x" {
		t.Errorf("the call after the restart: %v, %v", res, err)
	}
	poll(t, "both sessions to be replaced", func() bool {
		st := p.Stats().Sessions
		return st.Closed == 2 && st.Live == 2
	})
}

// TestAnSSEServerThatForgotASessionCostsNobodyACall has POSTs refused while the
// stream of the session is still there, as behind a balancer.
func TestAnSSEServerThatForgotASessionCostsNobodyACall(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, sseEra)
			p := s.openSSE(func(c *Config) { c.Min, c.Max = 1, 1 })
			if err := p.WaitReady(t.Context()); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var forgotten string
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				id := r.URL.Query().Get("sessionid")
				if r.Method != http.MethodPost || forgotten != "" && id != forgotten {
					return false
				}
				forgotten = id
				http.Error(w, "session not found", status)
				return true
			})
			res, err := p.Call(t.Context(), "write", map[string]any{"text": "x"}) // not read-only
			if err != nil || text(t, res, err) != "x" {
				t.Errorf("got %v, %v", res, err)
			}
			if n := s.ran("write"); n != 1 {
				t.Errorf("ran %d times", n)
			}
		})
	}
}

func TestSSERefusalsAreForTheCallAlone(t *testing.T) {
	t.Parallel()
	for status, check := range map[int]func(error) bool{
		400: isStatus(400), 401: isAuth(401), 403: isAuth(403), 413: isStatus(413), 429: isThrottled, 500: isStatus(500), 503: isThrottled,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, sseEra)
			p := s.openSSE(func(c *Config) { c.Min, c.Max = 1, 1 })
			stop := s.neighbour(p)
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("X-Status") == "" {
					return false
				}
				w.Header().Set("Retry-After", "7")
				http.Error(w, "no", status)
				return true
			})
			if _, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Status", "1")); !check(err) {
				t.Errorf("got %v", err)
			}
			if _, err := p.Call(t.Context(), "echo", nil); err != nil {
				t.Errorf("the next call: %v", err)
			}
			stop()
		})
	}
}

func TestSSECarriesCredentialsAndHeaders(t *testing.T) {
	t.Parallel()
	s := newServer(t, sseEra)
	p := s.openSSE(func(c *Config) { c.Auth = Bearer(auth.NewSecret("abc")); c.Min, c.Max = 1, 1 })
	if _, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Call", "1")); err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, r := range s.seen() {
		if got := r.header.Get("Authorization"); got != "Bearer abc" {
			t.Errorf("a %s with %q", r.method, got)
		}
		if r.header.Get("X-Call") != "" {
			calls++
		}
	}
	if calls != 1 {
		t.Errorf("%d requests with the header of the call", calls)
	}
}

func TestAnSSEServerThatEndsTheStreamInACallMayHaveRunIt(t *testing.T) {
	t.Parallel()
	s := newServer(t, sseEra)
	p := s.openSSE(func(c *Config) { c.Min, c.Max = 1, 1 })
	done := make(chan error, 1)
	go func() {
		_, err := p.Call(t.Context(), "hang", nil)
		done <- err
	}()
	poll(t, "the call to run", func() bool { return s.ran("hang") == 1 })
	s.kill()
	s.start()
	if err := <-done; !errors.Is(err, ErrMayHaveRun) {
		t.Errorf("got %v", err)
	}
}

// TestAnSSECallEndsWithItsStream has a server that never answers a POST, as some do
// when they have forgotten the session.
func TestAnSSECallEndsWithItsStream(t *testing.T) {
	t.Parallel()
	s := newServer(t, sseEra)
	p := s.openSSE(func(c *Config) { c.Min, c.Max = 1, 1 })
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Mute") == "" {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body) // the server notices the end of a connection only after it
		close(sent)
		<-r.Context().Done()
		return true
	})
	done := make(chan error, 1)
	go func() {
		_, err := p.Call(t.Context(), "write", nil, WithHeader("X-Mute", "1"))
		done <- err
	}()
	<-sent
	for session := range s.sessions() {
		_ = session.Close()
	}
	if err := <-done; !errors.Is(err, ErrMayHaveRun) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Call(t.Context(), "write", nil); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestAnSSEStreamThatDoesNotBeginEndsWithItsOpening(t *testing.T) {
	t.Parallel()
	s := newServer(t, sseEra)
	var asked, ended atomic.Bool
	s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		asked.Store(true)
		<-r.Context().Done()
		ended.Store(true)
		return true
	})
	p, err := Open(t.Context(), Config{Endpoint: s.url(), SSE: true, Lazy: true, Min: 1, Max: 1, ConnectTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	poll(t, "a session to be opened", asked.Load)
	go func() { _ = p.Close(t.Context()) }()
	poll(t, "the server to see the end", ended.Load)
	_ = p.Close(t.Context()) // waits for the other
}

// endedConn is a connection whose stream has ended, as the SDK's says it.
type endedConn struct{ mcp.Connection }

func (endedConn) Write(context.Context, jsonrpc.Message) error { return io.EOF }

// TestAnSSEMessageAfterTheEndOfTheStreamWasNotSent is about the moment between the end of
// the stream and the SDK's knowing of it.
func TestAnSSEMessageAfterTheEndOfTheStreamWasNotSent(t *testing.T) {
	t.Parallel()
	c := lenientConn{Connection: endedConn{}, stream: t.Context()}
	err := c.Write(t.Context(), &jsonrpc.Request{Method: methodCallTool})
	s := &conn{id: &identity{pool: &Pool{kind: kindSSE}}}
	if f := s.judge(t.Context(), methodCallTool, err); !f.gone || f.mayRun {
		t.Errorf("%v means %+v", err, f)
	}
}

// sessions are those that the server has.
func (s *server) sessions() iter.Seq[*mcp.ServerSession] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mcp.Sessions()
}

// neighbour has a call hang on a session of p. stop checks that it still does,
// and ends it.
func (s *server) neighbour(p *Pool) (stop func()) {
	s.t.Helper()
	before := s.ran("hang")
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := p.Call(ctx, "hang", nil)
		done <- err
	}()
	s.poll("the neighbour to run", func() bool { return s.ran("hang") > before })
	return func() {
		s.t.Helper()
		select {
		case err := <-done:
			s.t.Errorf("the neighbour ended: %v", err)
		default:
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				s.t.Errorf("the neighbour: %v", err)
			}
		}
		cancel()
	}
}

// handler returns what serves the era.
func (s *server) handler() http.Handler {
	get := func(*http.Request) *mcp.Server { return s.mcp }
	if s.era == sseEra {
		return mcp.NewSSEHandler(get, nil)
	}
	return mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{Stateless: s.era == modernEra})
}
