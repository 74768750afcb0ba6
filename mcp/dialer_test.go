package mcpool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// everyVersion runs a test with the last version of the old era, and with what the
// SDK agrees on by itself.
func everyVersion(t *testing.T, f func(t *testing.T, version string)) {
	t.Helper()
	for _, v := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			f(t, v)
		})
	}
}

func TestADialerCarriesEverythingInBothEras(t *testing.T) {
	t.Parallel()
	everyVersion(t, func(t *testing.T, version string) {
		s, d := newLineServer(t)
		p := openPool(t, Config{Dialer: d, ProtocolVersion: version})
		if got := p.Stats().Protocol; got != version {
			t.Errorf("speaks %q", got)
		}
		long := strings.Repeat("long ", 200_000)
		res, err := p.Call(t.Context(), "echo", map[string]any{"text": long})
		if text(t, res, err) != long {
			t.Error("a long message did not come back as it was")
		}
		res, err = p.Call(t.Context(), "ask", map[string]any{"text": "who?"},
			WithElicitation(func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"answer": "me"}}, nil
			}))
		if got := text(t, res, err); got != "me" {
			t.Errorf("elicitation: %q", got)
		}
		var told atomic.Pointer[string]
		// A notification that comes with the answer may come too late for the call.
		poll(t, "progress to be told", func() bool {
			res, err := p.Call(t.Context(), "progress", map[string]any{"text": "half"},
				WithProgress(func(_ context.Context, n *mcp.ProgressNotificationParams) { told.Store(&n.Message) }))
			text(t, res, err)
			return told.Load() != nil
		})
		if got := *told.Load(); got != "half" {
			t.Errorf("progress: %q", got)
		}
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		mcp.AddTool(s.mcp, &mcp.Tool{Name: "late"}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{}, nil, nil
		})
		poll(t, "the new tool to be listed", func() bool {
			tools, err := p.ListTools(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, tool := range tools {
				if tool.Name == "late" {
					return true
				}
			}
			return false
		})
	})
}

func TestACallThatProvablyDidNotGoOutIsRepeated(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]error{
		"the connection had ended":      &transport.CloseError{Reason: transport.PeerGone, NotSent: true},
		"the connection lives on":       fmt.Errorf("busy: %w", transport.ErrNotSent),
		"the session was gone":          &transport.CloseError{Reason: transport.SessionGone},
		"the peer was about to go away": &transport.CloseError{Reason: transport.ShuttingDown, NotSent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, d := newLineServer(t)
			var refused atomic.Bool
			d.prepare = func(_ int, _ transport.Open, c *lineEnd) error {
				c.onSend = func(msg []byte) ([]byte, error) {
					if has(msg, "write") && !refused.Swap(true) {
						return nil, refuse
					}
					return msg, nil
				}
				return nil
			}
			p := openPool(t, Config{Dialer: d, Min: 1})
			res, err := p.Call(t.Context(), "write", map[string]any{"text": "x"})
			if text(t, res, err) != "x" || !refused.Load() || s.ran("write") != 1 {
				t.Errorf("ran %d times", s.ran("write"))
			}
		})
	}
}

func TestAPeerThatDiesUnderACallLeavesItUncertain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cut    func(e *lineEnd, msg []byte) []byte
		reason transport.Reason
	}{
		"cut":           {func(e *lineEnd, msg []byte) []byte { e.line.cut(transport.PeerGone); return msg[:len(msg)/2] }, transport.ProtocolError},
		"garbage":       {func(*lineEnd, []byte) []byte { return []byte("<html>") }, transport.ProtocolError},
		"empty batch":   {func(*lineEnd, []byte) []byte { return []byte("[]") }, transport.ProtocolError},
		"half a batch":  {func(*lineEnd, []byte) []byte { return []byte(`[{"jsonrpc":"2.0","method":"x"},7]`) }, transport.ProtocolError},
		"a large reply": {func(*lineEnd, []byte) []byte { return make([]byte, 70<<10) }, transport.ProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, d := newLineServer(t)
			d.prepare = func(n int, _ transport.Open, e *lineEnd) error {
				e.onReceive = func(msg []byte) []byte {
					if n == 0 && has(msg, "content") {
						return c.cut(e, msg)
					}
					return msg
				}
				return nil
			}
			p := openPool(t, Config{Dialer: d, Min: 1, Max: 1, MaxMessageBytes: 64 << 10})
			_, err := p.Call(t.Context(), "write", map[string]any{"text": "x"})
			var closed *transport.CloseError
			if !errors.Is(err, ErrMayHaveRun) || !errors.Is(err, ErrSessionGone) || !errors.As(err, &closed) || closed.Reason != c.reason {
				t.Errorf("got %v", err)
			}
			if n := s.ran("write"); n != 1 {
				t.Errorf("ran %d times", n)
			}
			res, err := p.Call(t.Context(), "write", map[string]any{"text": "y"})
			if text(t, res, err) != "y" {
				t.Error("the next call did not get another session")
			}
			if got := d.ends()[0].closed.Load(); got == nil || *got != c.reason {
				t.Errorf("the connection was closed with %v", got)
			}
		})
	}
}

func TestAMessageTooLargeToSendFailsAlone(t *testing.T) {
	t.Parallel()
	s, d := newLineServer(t)
	p := openPool(t, Config{Dialer: d, Min: 1, Max: 1, MaxMessageBytes: 32 << 10})
	_, err := p.Call(t.Context(), "echo", map[string]any{"text": strings.Repeat("x", 33<<10)})
	var size *transport.SizeError
	if !errors.As(err, &size) || !size.Sending || errors.Is(err, ErrMayHaveRun) || s.ran("echo") != 0 {
		t.Errorf("got %v, ran %d times", err, s.ran("echo"))
	}
	res, err := p.Call(t.Context(), "echo", map[string]any{"text": "x"})
	if text(t, res, err) != "x" || len(d.ends()) != 1 {
		t.Errorf("%d connections", len(d.ends()))
	}
	if got := d.opens[0].MaxBytes; got != 32<<10 {
		t.Errorf("the dialer was told %d", got)
	}
}

func TestACallerLeavesASendThatIsStuckAndTheMessageGoesOnWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := memoryServer()
		mcp.AddTool(server, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
		})
		d := &lineDialer{server: server}
		var slow atomic.Bool
		var order []string
		d.prepare = func(_ int, _ transport.Open, e *lineEnd) error {
			e.onSend = func(msg []byte) ([]byte, error) {
				if slow.Load() {
					time.Sleep(10 * time.Second)
				}
				for _, name := range []string{"first", "second", "third"} {
					if has(msg, name) {
						order = append(order, name)
					}
				}
				return msg, nil
			}
			return nil
		}
		p, err := Open(t.Context(), Config{Dialer: d, Min: 1, Max: 1, ProbeInterval: Off})
		if err != nil {
			t.Fatal(err)
		}
		slow.Store(true)
		began := time.Now()
		var wg sync.WaitGroup
		for i, name := range []string{"first", "second"} { // the one is on its way, the other waits its turn
			wg.Go(func() {
				if _, err := p.Call(t.Context(), "echo", map[string]any{"text": name}, WithTimeout(time.Duration(i+1)*time.Second)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(began); took != time.Duration(i+1)*time.Second {
					t.Errorf("%s took %v", name, took)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		slow.Store(false)
		res, err := p.Call(t.Context(), "echo", map[string]any{"text": "third"})
		if text(t, res, err) != "third" {
			t.Error("the session did not survive")
		}
		if len(d.ends()) != 1 || len(order) != 2 || order[0] != "first" || order[1] != "third" {
			t.Errorf("%d connections, sent %q", len(d.ends()), order)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestClosingAPoolEndsConnectionsThatAreStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &lineDialer{server: memoryServer()}
		var deaf atomic.Bool
		d.prepare = func(_ int, _ transport.Open, e *lineEnd) error {
			e.onSend = func(msg []byte) ([]byte, error) {
				if deaf.Load() {
					<-e.line.ended
				}
				return msg, nil
			}
			return nil
		}
		p, err := Open(t.Context(), Config{Dialer: d, Min: 1, Max: 1})
		if err != nil {
			t.Fatal(err)
		}
		deaf.Store(true)
		failed := make(chan error, 1)
		go func() {
			_, err := p.Call(context.Background(), "sleep", nil)
			failed <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		_ = p.Close(ctx) // says that it took a session back
		if err := <-failed; !errors.Is(err, ErrMayHaveRun) {
			t.Errorf("the call: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if e := d.ends()[0]; e.closes.Load() != 1 || *e.closed.Load() != transport.Done {
			t.Errorf("closed %d times, with %v", e.closes.Load(), e.closed.Load())
		}
	})
}

func TestNothingIsLostOrDoubledWhenConnectionsAreCut(t *testing.T) {
	t.Parallel()
	everyVersion(t, func(t *testing.T, version string) {
		var mu sync.Mutex
		ran := make(map[string]int)
		server := mcp.NewServer(&mcp.Implementation{Name: "book", Version: "1"}, nil)
		mcp.AddTool(server, &mcp.Tool{Name: "book"}, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
			mu.Lock()
			defer mu.Unlock()
			ran[a.Text]++
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
		})
		d := &lineDialer{server: server}
		d.prepare = func(n int, _ transport.Open, e *lineEnd) error {
			random := rand.New(rand.NewPCG(uint64(n), 7))
			var lock sync.Mutex
			cut := func() bool {
				lock.Lock()
				defer lock.Unlock()
				return random.IntN(40) == 0
			}
			e.onSend = func(msg []byte) ([]byte, error) {
				if has(msg, "book") && cut() {
					e.line.cut(transport.PeerGone)
				}
				return msg, nil
			}
			e.onReceive = func(msg []byte) []byte {
				if has(msg, "content") && cut() {
					e.line.cut(transport.PeerGone)
					return msg[:len(msg)-1]
				}
				return msg
			}
			return nil
		}
		p := openPool(t, Config{Dialer: d, Max: 4, ProtocolVersion: version, CircuitFailures: Off})
		var done, uncertain atomic.Int32
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 60 {
					name := fmt.Sprintf("%d-%d", g, i)
					res, err := p.Call(t.Context(), "book", map[string]any{"text": name})
					mu.Lock()
					times := ran[name]
					mu.Unlock()
					switch {
					case err == nil:
						done.Add(1)
						if got := text(t, res, err); got != name || times != 1 {
							t.Errorf("%s: answer %q, ran %d times", name, got, times)
						}
					case errors.Is(err, ErrMayHaveRun):
						uncertain.Add(1)
						if times > 1 {
							t.Errorf("%s ran %d times", name, times)
						}
					default:
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%d done, %d uncertain, %d connections", done.Load(), uncertain.Load(), len(d.ends()))
		if uncertain.Load() == 0 || done.Load() == 0 || len(d.ends()) < 3 {
			t.Error("hardly anything was cut: the test has lost its point")
		}
	})
}

func TestADialerIsToldWhoseConnectionItIs(t *testing.T) {
	t.Parallel()
	_, d := newLineServer(t)
	p := openPool(t, Config{
		Dialer: d, Endpoint: "wss://tools.example.com/mcp", Min: 1,
		Auth: AuthFunc(func(_ context.Context, id auth.Identity) (auth.Credentials, error) {
			return auth.Credentials{Header: http.Header{"Authorization": {"Bearer of-" + id.ID}}}, nil
		}),
	})
	alice := auth.Identity{ID: "alice", Attrs: map[string]string{"tenant": "t"}, Subject: func(context.Context) (auth.Secret, error) {
		return auth.NewSecret("proof"), nil
	}}
	res, err := p.Call(t.Context(), "echo", map[string]any{"text": "x"}, WithIdentity(alice))
	text(t, res, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	open := d.opens[len(d.opens)-1]
	if open.Target.Name != "tools.example.com" || open.Target.URL != "wss://tools.example.com/mcp" ||
		open.Identity.ID != "alice" || open.Identity.Attrs["tenant"] != "t" || open.Header.Get("Authorization") != "Bearer of-alice" {
		t.Errorf("was told %v, %q", open, open.Header)
	}
	if token, err := open.Identity.Subject(t.Context()); err != nil || token != "proof" {
		t.Errorf("the subject: %q, %v", token, err)
	}
}

func TestCredentialHeadersOfACallFormConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	_, d := newLineServer(t)
	p := openPool(t, Config{Dialer: d, Min: 1})
	for _, token := range []string{"one", "two", "one"} {
		res, err := p.Call(t.Context(), "echo", map[string]any{"text": "x"}, WithHeader("Authorization", token))
		text(t, res, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := make(map[string]int)
	for _, open := range d.opens {
		seen[open.Header.Get("Authorization")]++
	}
	if seen["one"] != 1 || seen["two"] != 1 {
		t.Errorf("dialled with %v", seen)
	}
}

func TestARefusedDialIsShownToTheProviderOnce(t *testing.T) {
	t.Parallel()
	for _, refusals := range []int{1, 1 << 20} {
		_, d := newLineServer(t)
		var asked atomic.Int32
		d.prepare = func(n int, _ transport.Open, _ *lineEnd) error {
			if n < refusals {
				return &transport.RefusedError{Status: 401, Header: http.Header{"Www-Authenticate": {"Bearer"}}}
			}
			return nil
		}
		p, err := Open(t.Context(), Config{
			Dialer: d, Endpoint: "wss://tools.example.com/mcp", Min: 1, Max: 1,
			Auth: AuthFunc(func(context.Context, auth.Identity) (auth.Credentials, error) {
				return auth.Credentials{Header: http.Header{"Authorization": {fmt.Sprint(asked.Add(1))}}}, nil
			}),
		})
		var refused *AuthError
		switch {
		case refusals == 1 && (err != nil || asked.Load() != 2):
			t.Errorf("refused once: %v, asked %d times", err, asked.Load())
		case refusals > 1 && (!errors.As(err, &refused) || refused.Status != 401):
			t.Errorf("refused each time: %v", err)
		}
		if p != nil {
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestADialerThatMisbehavesFailsTheOpenAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]transport.Dialer{
		"panics": dialerFunc(func(context.Context, transport.Open) (transport.Conn, error) { panic("dial") }),
		"is nil": dialerFunc(func(context.Context, transport.Open) (transport.Conn, error) { return nil, nil }), //nolint:nilnil // that is the fault
		"refuses": dialerFunc(func(context.Context, transport.Open) (transport.Conn, error) {
			return nil, &transport.RefusedError{Problem: "host key"}
		}),
		"sends nothing": dialerFunc(func(context.Context, transport.Open) (transport.Conn, error) {
			c, _ := newLine()
			c.onSend = func([]byte) ([]byte, error) { panic("send") }
			return c, nil
		}),
		"reads nothing": dialerFunc(func(context.Context, transport.Open) (transport.Conn, error) {
			c, s := newLine()
			go func() {
				if _, err := s.Receive(context.Background()); err == nil {
					_ = s.Send(context.Background(), []byte("{}"))
				}
			}()
			c.onReceive = func([]byte) []byte { panic("receive") }
			return c, nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Open(t.Context(), Config{Dialer: d, Min: 1, Max: 1, ConnectRetries: Off})
			if err == nil {
				_ = p.Close(t.Context())
				t.Error("it was opened")
			}
		})
	}
}

func TestABatchIsReadAsItsMessages(t *testing.T) {
	t.Parallel()
	msgs, err := decode([]byte(` [{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","id":1,"result":{}}]`))
	if err != nil || len(msgs) != 2 {
		t.Errorf("%d messages, %v", len(msgs), err)
	}
}

func TestADialerConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, d := newLineServer(t)
	for field, cfg := range map[string]Config{
		"MaxMessageBytes": {Dialer: d, MaxMessageBytes: -1},
		"Endpoint":        {Dialer: d, Transport: InMemory(memoryServer())},
		"Auth":            {Dialer: d, Auth: Bearer(auth.NewSecret("x"))},
		"SSE":             {Dialer: d, SSE: true},
	} {
		var fault *ConfigError
		if _, err := Open(t.Context(), cfg); !errors.As(err, &fault) || fault.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
