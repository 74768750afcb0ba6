package mcpool

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestAPrimedSessionKeepsOnlyToolsWithMarks(t *testing.T) {
	t.Parallel()
	s := newServer(t, modernEra)
	s.offerRegional("regional")
	p := s.open(func(c *Config) { c.NoListener = true })
	l, session, err := p.lease(t.Context(), p.def, &options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	kept, err := session.cs.ListTools(t.Context(), nil) // as prime does
	if err != nil {
		t.Fatal(err)
	}
	if len(kept.Tools) != 1 || kept.Tools[0].Name != "regional" || !mentionsMark(kept.Tools[0].InputSchema) || kept.Meta != nil {
		t.Errorf("kept %+v with %v, want regional alone", kept.Tools, kept.Meta)
	}
	all, err := p.ListTools(t.Context())
	if err != nil || len(all) < 3 || !slices.ContainsFunc(all, func(t *mcp.Tool) bool { return t.Description != "" }) {
		t.Errorf("the pool's own list has %d tools (%v)", len(all), err)
	}
}

func TestAToolWithAMarkAnywhereIsKept(t *testing.T) {
	t.Parallel()
	for schema, want := range map[string]bool{
		`null`: false,
		`{"type":"object","properties":{"a":{"type":"string"}}}`:                                         false,
		`{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}`:                                      true,
		`{"properties":{"a":{"type":"string","X-Mcp-Header":"A"}}}`:                                      true,
		`{"properties":{"a":{"properties":{"b":{"x-mcp-header":7}}}}}`:                                   true,
		`{"anyOf":[{"type":"string"},{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}`:        true,
		`{"properties":{"a":{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"integer"}]}}}}`: false,
	} {
		tool := &mcp.Tool{Name: "t", Description: "long", Meta: mcp.Meta{"a": 1}}
		if err := json.Unmarshal([]byte(schema), &tool.InputSchema); err != nil {
			t.Fatal(err)
		}
		res, err := onlyMarked(&mcp.ListToolsResult{Tools: []*mcp.Tool{nil, tool}, NextCursor: "more"}, nil)
		list, ok := res.(*mcp.ListToolsResult)
		if err != nil || !ok || list.NextCursor != "more" {
			t.Fatalf("%s: %v, %v", schema, res, err)
		}
		if got := len(list.Tools) == 1; got != want {
			t.Errorf("%s: kept is %t", schema, got)
		}
		if want && (list.Tools[0].Name != "t" || list.Tools[0].InputSchema == nil || list.Tools[0].Description != "") {
			t.Errorf("%s: kept %+v", schema, list.Tools[0])
		}
	}
	boom := errors.New("boom")
	if _, err := onlyMarked(nil, boom); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

// spied is a transport that shows what it was called with.
type spied struct {
	mcp.Transport
	spy *spy
}

type spy struct {
	mu      sync.Mutex
	opening []context.Context
	writes  []context.Context
}

func (t spied) Connect(ctx context.Context) (mcp.Connection, error) {
	t.spy.mu.Lock()
	t.spy.opening = append(t.spy.opening, ctx)
	t.spy.mu.Unlock()
	c, err := t.Transport.Connect(ctx)
	return spiedConn{c, t.spy}, err
}

type spiedConn struct {
	mcp.Connection
	spy *spy
}

func (c spiedConn) Write(ctx context.Context, msg jsonrpc.Message) error {
	if req, ok := msg.(*jsonrpc.Request); ok && req.Method == methodCallTool {
		c.spy.mu.Lock()
		c.spy.writes = append(c.spy.writes, ctx)
		c.spy.mu.Unlock()
	}
	return c.Connection.Write(ctx, msg)
}

func (s *spy) config() Config {
	dial := InMemory(memoryServer())
	return Config{Min: 1, Transport: func(ctx context.Context, d Dial) (mcp.Transport, error) {
		t, err := dial(ctx, d)
		return spied{t, s}, err
	}}
}

func TestTheContextOfAnOpeningEndsWithItAndNamesTheSession(t *testing.T) {
	t.Parallel()
	var s spy
	p := openPool(t, s.config())
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.opening[0].(*connContext)
	if !ok {
		t.Fatalf("opened with a %T", s.opening[0])
	}
	if c.opening.Load() != &p.over {
		t.Error("an open session keeps the context that it was opened with")
	}
	if !errors.Is(c.Err(), context.Canceled) || connOf(c) == nil {
		t.Errorf("it ended with %v and names %v", c.Err(), connOf(c))
	}
	select {
	case <-c.Done():
	default:
		t.Error("it goes on")
	}
}

func TestACallWithoutAnEndOfItsOwnHasWhatItsCallersContextHas(t *testing.T) {
	t.Parallel()
	type key struct{}
	var s spy
	p := openPool(t, s.config())
	ctx := context.WithValue(context.Background(), key{}, "mine")
	if _, err := p.Call(ctx, "nothing", nil); err == nil {
		t.Error("there is no such tool")
	}
	s.mu.Lock()
	got := s.writes[0]
	s.mu.Unlock()
	c := callOf(got)
	if c == nil || c.live != nil || connOf(got) != c.conn || got.Value(key{}) != "mine" {
		t.Fatalf("call %v, value %v", c, got.Value(key{}))
	}
	if _, ok := got.Deadline(); ok || got.Err() != nil {
		t.Errorf("it ended, or will: %v", got.Err())
	}
	// Package context finds the session's own in it, and starts no goroutine to watch.
	stopped := make(chan struct{})
	defer context.AfterFunc(got, func() { close(stopped) })()
	c.conn.end()
	<-stopped
	if !errors.Is(got.Err(), context.Canceled) {
		t.Errorf("the session has ended, the call with %v", got.Err())
	}
}

func TestACallWithoutAnEndOfItsOwnEndsWithItsSession(t *testing.T) {
	for name, opts := range map[string][]Option{"plain": nil, "with a handler": {WithProgress(func(context.Context, *mcp.ProgressNotificationParams) {})}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := Open(context.Background(), Config{Transport: InMemory(memoryServer()), DrainTimeout: 2 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				failed := make(chan error)
				go func() {
					_, err := p.Call(context.Background(), "sleep", nil, opts...)
					failed <- err
				}()
				synctest.Wait()
				go func() { _ = p.Close(context.Background()) }() // it revokes a lease, and says so
				var gone *SessionError
				if err := <-failed; !errors.As(err, &gone) || !gone.Gone || !gone.MayRun {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took >= time.Minute {
					t.Errorf("it ended with the tool, after %v", took)
				}
				_ = p.Close(context.Background()) // waits for the other
			})
		})
	}
}

func TestIdentitiesHearOfChangesOfTheirOwnListsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := map[string]*mcp.Server{"": memoryServer(), "a": memoryServer(), "b": memoryServer()}
		p, err := Open(t.Context(), Config{Transport: func(ctx context.Context, d Dial) (mcp.Transport, error) {
			return InMemory(servers[d.Identity.ID])(ctx, d)
		}})
		if err != nil {
			t.Fatal(err)
		}
		list := func(id string) []*mcp.Tool {
			t.Helper()
			tools, err := p.ListTools(t.Context(), WithIdentity(identityNamed(id)))
			if err != nil {
				t.Fatal(err)
			}
			return tools
		}
		list("a")
		list("b")
		mcp.AddTool(servers["a"], &mcp.Tool{Name: "new"}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{}, nil, nil
		})
		time.Sleep(time.Second) // the SDK tells of several changes at once
		fetched := p.Stats().ListFetches
		if names(list("b"))["new"] || p.Stats().ListFetches != fetched {
			t.Error("the list of b was invalidated by the server of a")
		}
		if !names(list("a"))["new"] {
			t.Error("a did not hear that its list had changed")
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAListenerThatWasStoppedDoesNotBegin(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(nil)
	p.def.stopListening()
	p.def.listen()
	l := p.def.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		t.Error("it began")
	}
}

func TestCallsInFlightAreKeptUntilTheyAreForgotten(t *testing.T) {
	t.Parallel()
	s := &conn{id: &identity{pool: &Pool{}}}
	kept := func(want ...*call) {
		t.Helper()
		var got []*call
		var last *call
		for c := s.calls; c != nil; c = c.next {
			if c.prev != last {
				t.Error("the list does not lead back")
			}
			got, last = append(got, c), c
		}
		if !slices.Equal(got, want) {
			t.Errorf("kept %v, want %v", got, want)
		}
	}
	a, b, c, never := livingCall(), livingCall(), livingCall(), livingCall()
	for _, x := range []*call{a, b, c} {
		if !s.enter(x) {
			t.Fatal("the session is closed")
		}
	}
	kept(c, b, a)
	s.forget(never)
	s.forget(b)
	kept(c, a)
	s.forget(b) // again
	kept(c, a)
	s.forget(c)
	kept(a)
	s.forget(a)
	kept()
}

func TestTheContextOfHandlersEndsWithTheirCall(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	s := &conn{id: &identity{pool: &Pool{kind: kindCustom}}, ctx: ctx, end: end}
	for name, h := range map[string]handlers{
		"progress":    {progress: func(context.Context, *mcp.ProgressNotificationParams) {}},
		"elicitation": {elicit: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) { return nil, errNobodyAsked }},
		"updates":     {update: func(context.Context, ResourceUpdate) {}},
	} {
		c := newCall(context.Background(), s, &options{handlers: h})
		if !s.enter(c) {
			t.Fatal("the session is closed")
		}
		if err := c.Err(); err != nil {
			t.Errorf("%s: before the end: %v", name, err)
		}
		c.end()
		if c.Err() == nil {
			t.Errorf("%s: it goes on when the call is over", name)
		}
		if ctx.Err() != nil || s.calls != nil {
			t.Errorf("%s: the session ended with it, or keeps it", name)
		}
	}
}

func TestACallWithItsSessionsContextIsForgottenWhenItEnds(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	s := &conn{id: &identity{pool: &Pool{kind: kindCustom}}, ctx: ctx, end: end}
	c := newCall(context.Background(), s, &options{})
	if c.live != nil || !s.enter(c) {
		t.Fatal("it has a context of its own, or the session is closed")
	}
	c.end()
	if s.calls != nil || ctx.Err() != nil {
		t.Error("it is kept, or its end is the session's")
	}
	end()
	if s.enter(newCall(context.Background(), s, &options{})) {
		t.Error("a call begins on a session that has ended")
	}
}

func livingCall() *call {
	l := new(liveCall)
	l.call.live = &l.live
	return &l.call
}
