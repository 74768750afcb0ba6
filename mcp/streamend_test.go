package mcpool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// openEnded is a server that has answered a tool call, and been read, while the
// stream of the answer is still open.
type openEnded struct {
	*httptest.Server

	// hold is run after the answer, before the stream ends.
	hold func(r *http.Request)

	mu     sync.Mutex
	peers  []string        // guarded by mu; who sent the calls, as host:port
	closed map[string]bool // guarded by mu; connections that are over, by their peer
}

func newOpenEnded(t *testing.T, e era, hold func(r *http.Request)) (*openEnded, *Pool) {
	t.Helper()
	m := mcp.NewServer(&mcp.Implementation{Name: "open-ended", Version: "1"}, nil)
	mcp.AddTool(m, &mcp.Tool{Name: "echo"}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, nil
	})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m }, &mcp.StreamableHTTPOptions{Stateless: e == modernEra})
	s := &openEnded{hold: hold, closed: make(map[string]bool)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		calls := bytes.Contains(body, []byte(`"tools/call"`))
		if calls {
			s.mu.Lock()
			s.peers = append(s.peers, r.RemoteAddr)
			s.mu.Unlock()
		}
		handler.ServeHTTP(w, r)
		if calls {
			s.hold(r)
		}
	}))
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.closed[c.RemoteAddr().String()] = true
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	p := openPool(t, Config{Endpoint: s.URL, Min: 1, Max: 1, NoListener: true, ProbeInterval: Off})
	return s, p
}

// callAndCancel makes a call as most callers do.
func callAndCancel(t *testing.T, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := p.Call(ctx, "echo", nil); err != nil {
		t.Fatal(err)
	}
}

// unended returns the calls on the pool's one session whose streams have not ended.
func unended(t *testing.T, p *Pool) []*call {
	t.Helper()
	l, s, err := p.lease(t.Context(), p.def, &options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	s.mu.Lock()
	defer s.mu.Unlock()
	var calls []*call
	for c := s.calls; c != nil; c = c.next {
		calls = append(calls, c)
	}
	return calls
}

func TestACallerThatCancelsWhenItHasItsAnswerLeavesTheConnectionInUse(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		goOn := make(chan struct{})
		s, p := newOpenEnded(t, e, func(r *http.Request) {
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
		})
		callAndCancel(t, p)
		close(goOn) // only now may the stream end
		poll(t, "the stream has ended", func() bool { return len(unended(t, p)) == 0 })
		callAndCancel(t, p)
		s.mu.Lock()
		defer s.mu.Unlock()
		// Another that the handshake left may have become free last, and is taken first.
		if len(s.peers) != 2 || s.peers[0] != s.peers[1] && s.closed[s.peers[0]] {
			t.Errorf("the calls came from %q, and the first connection was closed: %v", s.peers, s.closed)
		}
	})
}

func TestAStreamThatDoesNotEndAfterItsAnswerIsEnded(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		var ended atomic.Bool
		_, p := newOpenEnded(t, e, func(r *http.Request) { <-r.Context().Done(); ended.Store(true) })
		callAndCancel(t, p)
		poll(t, "the server sees the end", ended.Load)
		poll(t, "the call is forgotten", func() bool { return len(unended(t, p)) == 0 })
	})
}

func TestCloseEndsTheStreamsOfCallsThatAreOver(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		_, p := newOpenEnded(t, e, func(r *http.Request) { <-r.Context().Done() })
		callAndCancel(t, p)
		calls := unended(t, p)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for _, c := range calls {
			if c.Err() == nil {
				t.Error("the request of a call goes on after Close")
			}
		}
	})
}

func TestACallInFlightHearsOfItsCallersContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &conn{id: &identity{pool: &Pool{kind: kindHTTP}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := newCall(ctx, s, &options{})
		theirs, _ := ctx.Deadline()
		if ours, ok := c.Deadline(); !ok || !ours.Equal(theirs) {
			t.Errorf("deadline %v, want %v", ours, theirs)
		}
		if err := c.Err(); err != nil {
			t.Errorf("before the deadline: %v", err)
		}
		<-c.Done()
		if err := c.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after it: %v", err)
		}
		c.end()
		cancel()

		ctx, cancel = context.WithCancel(t.Context())
		c = newCall(ctx, s, &options{})
		if !s.enter(c) {
			t.Fatal("the session is closed")
		}
		body := c.keep(io.NopCloser(bytes.NewReader(nil)))
		c.end()
		cancel()
		synctest.Wait()
		if err := c.ctx.Err(); err != nil {
			t.Errorf("over, with a stream that goes on: %v", err)
		}
		if s.calls != c || c.next != nil {
			t.Error("over, with a stream that goes on, Close cannot end it")
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			t.Error(err)
		}
		if c.ctx.Err() == nil {
			t.Error("its context goes on after the stream")
		}
		if s.calls != nil {
			t.Error("it is kept after the stream")
		}
	})
}
