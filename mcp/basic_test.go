package mcpool

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/core"
)

func TestACallReachesAWarmSession(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(nil)
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		opened := p.Stats().Sessions.Opened
		for range 20 {
			res, err := p.Call(t.Context(), "echo", map[string]any{"text": "hi"})
			if got := text(t, res, err); got != "hi" {
				t.Fatalf("got %q", got)
			}
		}
		if st := p.Stats(); st.Sessions.Opened != opened {
			t.Errorf("20 calls one after the other opened %d sessions more", st.Sessions.Opened-opened)
		} else if st.Calls != 20 || st.CallErrors != 0 {
			t.Errorf("stats: %d calls, %d errors", st.Calls, st.CallErrors)
		}
	})
}

func TestAToolThatFailsIsAResultAndNoError(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		p := newServer(t, e).open(nil)
		res, err := p.Call(t.Context(), "fail", nil)
		if err != nil || !res.IsError {
			t.Fatalf("got %v, %v", res, err)
		}
	})
}

func TestParamsAreNeverModified(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		p := newServer(t, e).open(nil)
		params := &mcp.CallToolParams{Name: "echo", Meta: mcp.Meta{"mine": "1"}}
		if _, err := p.CallTool(t.Context(), params, WithProgress(func(context.Context, *mcp.ProgressNotificationParams) {})); err != nil {
			t.Fatal(err)
		}
		if params.Arguments != nil || len(params.Meta) != 1 {
			t.Errorf("params were written to: %+v", params)
		}
	})
}

func TestTheEraOfTheEndpointDecidesHowManySessionsThereAre(t *testing.T) {
	t.Parallel()
	for e, want := range map[era]int{oldEra: 4, modernEra: 1} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			p := newServer(t, e).open(func(c *Config) { c.Min = 4 })
			if err := p.WaitReady(t.Context()); err != nil {
				t.Fatal(err)
			}
			// Those of the era thought of first count until they are closed.
			poll(t, "as many sessions as the era needs", func() bool { return p.Stats().Sessions.Live == want })
			st := p.Stats()
			if st.Protocol == "" || isModern(st.Protocol) != (e == modernEra) {
				t.Errorf("protocol is %q", st.Protocol)
			}
		})
	}
}

func TestOnlyTheFirstSessionNegotiates(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(func(c *Config) { c.Min = 4 })
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range s.seen() {
		if r.rpc == "server/discover" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("server/discover was sent %d times for 4 sessions", n)
	}
}

func TestAServerThatHangsOnDiscoverIsStillReached(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Mcp-Method") != "server/discover" {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body) // or the end of the connection goes unnoticed
		<-r.Context().Done()
		return true
	})
	p := s.open(func(c *Config) { c.ConnectTimeout = 4 * time.Second; c.AcquireTimeout = time.Minute; c.Min = 1 })
	if _, err := p.Call(t.Context(), "echo", nil); err != nil {
		t.Fatal(err)
	}
}

func TestAPinnedVersionIsSpoken(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(func(c *Config) { c.ProtocolVersion = "2025-06-18" })
	for _, r := range s.seen() {
		if r.rpc == "server/discover" {
			t.Error("server/discover was sent although the version is pinned")
		}
	}
	l, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if got := l.InitializeResult().ProtocolVersion; got != "2025-06-18" {
		t.Errorf("version %q", got)
	}
}

func TestOpenReturnsTheReasonWhenNoSessionCanBeHad(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	s.kill()
	_, err := Open(t.Context(), Config{Endpoint: s.url(), ConnectRetries: Off})
	if _, ok := errors.AsType[*core.OpenError](err); !ok {
		t.Fatalf("got %v", err)
	}
}

func TestOpenLeavesWithTheContextOfTheCaller(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	release := make(chan struct{})
	s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := Open(ctx, Config{Endpoint: s.url(), ConnectTimeout: 2 * time.Minute})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

func TestLazyOpensWhenTheServerIsThere(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	s.kill()
	p := s.open(func(c *Config) { c.Lazy = true; c.CircuitFailures = Off })
	if p.Ready() {
		t.Error("ready without a server")
	}
	s.start()
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAcquireHasTheSessionAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(func(c *Config) { c.Max = 2 })
	a, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.ID() == b.ID() {
		t.Error("two leases, one session")
	}
	if _, ok := p.TryAcquire(t.Context()); ok {
		t.Error("a third of two")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Call(ctx, "echo", nil); !errors.Is(err, core.ErrExhausted) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a shared call beside two exclusive leases: %v", err)
	}
	b.Release()
	if _, err := b.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo"}); !errors.Is(err, ErrReleased) {
		t.Errorf("after Release: %v", err)
	}
	a.Discard()
}

func TestAffinityKeepsServerStateTogether(t *testing.T) {
	t.Parallel()
	p := newServer(t, oldEra).open(func(c *Config) { c.Min = 4; c.CallsPerSession = 1 })
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	hold, err := p.Acquire(t.Context()) // so that the first session is not everyone's
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release()
	for i := range 5 {
		res, err := p.Call(t.Context(), "counter", nil, WithPin("a"))
		if got := text(t, res, err); got != string(rune('1'+i)) {
			t.Fatalf("call %d counted %s", i+1, got)
		}
	}
}

func TestDoDiscardsOnPanic(t *testing.T) {
	t.Parallel()
	p := newServer(t, oldEra).open(nil)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not go on")
			}
		}()
		_ = p.Do(t.Context(), func(context.Context, *Session) error { panic("x") })
	}()
	poll(t, "the session to be closed", func() bool {
		return p.Stats().Sessions.ClosedBy[core.ReasonDiscarded] == 1
	})
}

func TestCloseEndsCallsWhenItsPatienceIsOver(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p, err := Open(t.Context(), Config{Endpoint: s.url(), ConnectTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			_, err := p.Call(context.Background(), "hang", nil)
			failed <- err
		}()
		poll(t, "the call to run", func() bool { return s.ran("hang") == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		var late *core.CloseError
		if err := p.Close(ctx); !errors.As(err, &late) || late.Revoked != 1 {
			t.Errorf("Close: %v", err)
		}
		if err := <-failed; !errors.Is(err, ErrMayHaveRun) {
			t.Errorf("the call: %v", err)
		}
		if _, err := p.Call(t.Context(), "echo", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("a call after Close: %v", err)
		}
	})
}

func TestResizeChangesTheLimits(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		p := newServer(t, e).open(nil)
		if err := p.Resize(t.Context(), 1, 3); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Call(t.Context(), "echo", nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Resize(t.Context(), 0, 0); err == nil {
			t.Error("a limit of 0 was taken")
		}
	})
}
