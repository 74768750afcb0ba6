package websocket

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func TestAnMCPServerAnswersOverAWebSocket(t *testing.T) {
	t.Parallel()
	c := mustDial(t, serve(t, serveMCP), transport.Open{}, nil)
	hello(t, c)
	for i, size := range []int{1, 500, 128 << 10, 3} {
		text := strings.Repeat("é", size)
		params, err := json.Marshal(map[string]any{"name": "echo", "arguments": map[string]any{"text": text}})
		if err != nil {
			t.Fatal(err)
		}
		answer := fmt.Sprint(ask(t, c, 10+i, "tools/call", string(params)))
		if !strings.Contains(answer, "text:"+text+" ") && !strings.Contains(answer, "text:"+text+"]") {
			t.Errorf("%d bytes did not come back as they were: %.200s", 2*size, answer)
		}
	}
	if err := c.Close(t.Context(), transport.Done); err != nil {
		t.Error(err)
	}
	var closed *transport.CloseError
	if _, err := c.Receive(t.Context()); !errors.As(err, &closed) || closed.Reason != transport.Done {
		t.Errorf("Receive after Close: %v", err)
	}
	if err := c.Send(t.Context(), []byte("{}")); !errors.Is(err, transport.ErrClosed) || !errors.Is(err, transport.ErrNotSent) {
		t.Errorf("Send after Close: %v", err)
	}
}

func TestTheHandshakeIsTrustedOnlyWithTheRightCA(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(serveMCP))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	url := "wss" + strings.TrimPrefix(s.URL, "https")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	hello(t, mustDial(t, url, transport.Open{}, func(c *Config) { c.TLS.CAFile = ca }))
	var refused *transport.RefusedError
	if _, err := dial(t, url, transport.Open{}, nil); !errors.As(err, &refused) {
		t.Errorf("with the system's CAs: %v", err)
	}
	if _, err := dial(t, url, transport.Open{}, func(c *Config) { c.TLS.CAFile, c.TLS.ServerName = ca, "elsewhere.test" }); !errors.As(err, &refused) {
		t.Errorf("with another name: %v", err)
	}
}

func TestAProxyIsUsed(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(serveMCP)) // plain ws goes through a proxy without a tunnel
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	var used atomic.Int32
	proxy := connectProxy(t, func(string) { used.Add(1) })
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig
	c := mustDial(t, "wss"+strings.TrimPrefix(s.URL, "https"), transport.Open{}, func(c *Config) {
		c.Proxy, c.TLS.Config = proxy, roots
	})
	hello(t, c)
	if used.Load() != 1 {
		t.Errorf("used %d times", used.Load())
	}
}

// renewing is a provider whose first token is refused.
type renewing struct{ token, challenges atomic.Int32 }

func (p *renewing) Credentials(_ context.Context, r auth.Request) (auth.Credentials, error) {
	return auth.Credentials{Header: http.Header{"Authorization": {fmt.Sprintf("Bearer %s-%d", r.Identity.ID, p.token.Load())}}}, nil
}

func (p *renewing) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	p.challenges.Add(1)
	p.token.Add(1)
	return auth.Retry, nil
}

func (p *renewing) Close(context.Context) error { return nil }

func TestHeadersAndCredentialsGoWithTheHandshake(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []http.Header
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Header.Clone())
		mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer alice-1" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serveMCP(w, r)
	})
	p := &renewing{}
	open := transport.Open{Identity: transport.Identity{ID: "alice"}, Header: http.Header{"X-Open": {"o"}, "X-Both": {"open"}}}
	c := mustDial(t, url, open, func(c *Config) {
		c.Auth = p
		c.Headers = map[string]auth.Secret{"X-Config": auth.NewSecret("c"), "X-Both": auth.NewSecret("config")}
	})
	hello(t, c)
	mu.Lock()
	defer mu.Unlock()
	if p.challenges.Load() != 1 || len(seen) != 2 {
		t.Fatalf("%d challenges, %d handshakes", p.challenges.Load(), len(seen))
	}
	h := seen[1]
	if h.Get("X-Config") != "c" || h.Get("X-Open") != "o" || h.Get("X-Both") != "open" || h.Get("Sec-WebSocket-Protocol") != "mcp" {
		t.Errorf("handshake with %v", h)
	}
}

func TestARefusalIsToldFromTroubleOfTheMoment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status  int
		refused bool
	}{{401, true}, {403, true}, {404, true}, {302, true}, {200, true}, {408, false}, {429, false}, {500, false}, {503, false}} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(c.status)
		})
		_, err := dial(t, url, transport.Open{}, nil)
		var refused *transport.RefusedError
		if err == nil || errors.As(err, &refused) != c.refused || refused != nil && refused.Status != c.status {
			t.Errorf("%d: %v", c.status, err)
		}
	}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if ws, err := websocket.Accept(w, r, nil); err == nil {
			_ = ws.CloseNow()
		}
	})
	var refused *transport.RefusedError
	if _, err := dial(t, url, transport.Open{}, nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "subprotocol") {
		t.Errorf("a server without the subprotocol: %v", err)
	}
}

func TestMessagesAreHeldToTheLimitExactly(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	url := accept(t, func(ctx context.Context, ws *websocket.Conn) {
		for {
			_, msg, err := ws.Read(ctx)
			if err != nil {
				return
			}
			if string(msg) == "more" {
				msg = bytes.Repeat([]byte("y"), limit+1)
			}
			if ws.Write(ctx, websocket.MessageText, msg) != nil {
				return
			}
		}
	})
	c := mustDial(t, url, transport.Open{MaxBytes: limit}, nil)
	var size *transport.SizeError
	if err := c.Send(t.Context(), make([]byte, limit+1)); !errors.As(err, &size) || !errors.Is(err, transport.ErrNotSent) || errors.Is(err, transport.ErrClosed) {
		t.Errorf("one byte too many: %v", err)
	}
	for range 2 {
		fits := bytes.Repeat([]byte("x"), limit)
		if err := c.Send(t.Context(), fits); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Receive(t.Context()); err != nil || !bytes.Equal(got, fits) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if err := c.Send(t.Context(), []byte("more")); err != nil {
		t.Fatal(err)
	}
	var closed *transport.CloseError
	if _, err := c.Receive(t.Context()); !errors.As(err, &closed) || closed.Reason != transport.ProtocolError || !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("received one byte too many: %v", err)
	}
}

func TestReceivedMessagesBelongToTheCaller(t *testing.T) {
	t.Parallel()
	url := accept(t, func(ctx context.Context, ws *websocket.Conn) {
		for _, msg := range []string{"one", "second", "3"} {
			_ = ws.Write(ctx, websocket.MessageText, []byte(msg))
		}
		<-ctx.Done()
	})
	c := mustDial(t, url, transport.Open{}, nil)
	var got [][]byte
	for range 3 {
		msg, err := c.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, msg)
	}
	if s := string(bytes.Join(got, []byte(","))); s != "one,second,3" {
		t.Errorf("got %q", s)
	}
}

func TestAConnectionCutInMidMessageDeliversNoPart(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"\x81", "\x81\x7e\x01", "\x81\x7e\x01\x00{\"half\":", "\x01\x05{\"ok\""} {
		url := raw(t, func(line net.Conn, _ *bufio.Reader) {
			_, _ = io.WriteString(line, "\x81\x02{}"+part)
		})
		c := mustDial(t, url, transport.Open{}, nil)
		if msg, err := c.Receive(t.Context()); err != nil || string(msg) != "{}" {
			t.Fatalf("the whole message: %q, %v", msg, err)
		}
		for range 2 {
			var closed *transport.CloseError
			if msg, err := c.Receive(t.Context()); !errors.As(err, &closed) || closed.Reason != transport.PeerGone || msg != nil {
				t.Errorf("after %q: %q, %v", part, msg, err)
			}
		}
	}
}

func TestAHalfOpenLinkIsNoticed(t *testing.T) {
	t.Parallel()
	url := raw(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }) // takes everything, says nothing
	c := mustDial(t, url, transport.Open{}, func(c *Config) {
		c.PingInterval, c.PingTimeout = 5*time.Millisecond, 50*time.Millisecond
	})
	var closed *transport.CloseError
	if _, err := c.Receive(t.Context()); !errors.As(err, &closed) || closed.Reason != transport.PeerGone || !strings.Contains(err.Error(), "ping") {
		t.Errorf("got %v", err)
	}
}

func TestAPeerIsNotGivenUpWhileNobodyListens(t *testing.T) {
	t.Parallel()
	pings := make(chan struct{}, 1000)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols: []string{"mcp"}, OnPingReceived: func(context.Context, []byte) bool { pings <- struct{}{}; return true },
		})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		_, msg, err := ws.Read(r.Context())
		if err == nil {
			_ = ws.Write(r.Context(), websocket.MessageText, msg)
			_, _, _ = ws.Read(r.Context())
		}
	})
	c := mustDial(t, url, transport.Open{}, func(c *Config) {
		c.PingInterval, c.PingTimeout = time.Millisecond, time.Millisecond
	})
	<-pings // and nobody hears the answer
	for range 20 {
		<-time.After(time.Millisecond) // any time will do, or none: longer only makes a cut likelier
	}
	if err := c.Send(t.Context(), []byte("hi")); err != nil {
		t.Fatal(err)
	}
}

func TestASlowReaderHoldsUpTheSenderAndLosesNothing(t *testing.T) {
	t.Parallel()
	start := make(chan struct{})
	var got atomic.Int32
	url := accept(t, func(ctx context.Context, ws *websocket.Conn) {
		<-start
		for {
			_, msg, err := ws.Read(ctx)
			if err != nil {
				return
			}
			if want := got.Load(); len(msg) < 4 || string(msg[:4]) != fmt.Sprintf("%04d", want) {
				t.Errorf("message %d is %.4s", want, msg)
			}
			if got.Add(1) == 16 {
				_ = ws.Write(ctx, websocket.MessageText, []byte("all"))
			}
		}
	})
	c := mustDial(t, url, transport.Open{}, nil)
	sent := make(chan error, 1)
	go func() {
		for i := range 16 { // 16 MB: more than any socket holds
			if err := c.Send(context.Background(), append(fmt.Appendf(nil, "%04d", i), make([]byte, 1<<20)...)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	close(start)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if msg, err := c.Receive(t.Context()); err != nil || string(msg) != "all" {
		t.Errorf("%q, %v", msg, err)
	}
}

func TestAMessageThatIsStuckEndsTheConnectionUnsent(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"time-out", "context", "close"} {
		url := raw(t, func(line net.Conn, _ *bufio.Reader) { <-t.Context().Done() })
		c := mustDial(t, url, transport.Open{MaxBytes: 64 << 20}, func(c *Config) {
			if by == "time-out" {
				c.SendTimeout = 20 * time.Millisecond
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		switch by {
		case "context":
			time.AfterFunc(20*time.Millisecond, cancel)
		case "close":
			time.AfterFunc(20*time.Millisecond, func() { _ = c.Close(context.Background(), transport.Done) })
		}
		var closed *transport.CloseError
		// A context, or a machine, may be faster than the first byte.
		if err := c.Send(ctx, make([]byte, 60<<20)); !errors.As(err, &closed) && by != "context" || !errors.Is(err, transport.ErrNotSent) {
			t.Errorf("%s: %v", by, err)
		}
		cancel()
	}
}

func TestCloseCodesSayWhy(t *testing.T) {
	t.Parallel()
	for code, want := range map[websocket.StatusCode]transport.Reason{
		1000: transport.ShuttingDown, 1001: transport.ShuttingDown, 1012: transport.ShuttingDown, 1013: transport.ShuttingDown, 1002: transport.ProtocolError,
		1003: transport.ProtocolError, 1007: transport.ProtocolError, 1008: transport.ProtocolError, 1009: transport.ProtocolError,
		1010: transport.ProtocolError, 1011: transport.PeerGone, 4404: transport.SessionGone, 4410: transport.SessionGone, 4000: transport.PeerGone,
	} {
		url := accept(t, func(_ context.Context, ws *websocket.Conn) { _ = ws.Close(code, "a secret of the server") })
		c := mustDial(t, url, transport.Open{}, nil)
		var closed *transport.CloseError
		_, err := c.Receive(t.Context())
		if !errors.As(err, &closed) || closed.Reason != want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: %v", code, err)
		}
		if err := c.Send(t.Context(), []byte("{}")); !errors.As(err, &closed) || closed.Reason != want || !closed.NotSent {
			t.Errorf("%d, Send: %v", code, err)
		}
	}
	for reason, want := range map[transport.Reason]websocket.StatusCode{
		transport.Done: 1000, transport.ShuttingDown: 1001, transport.ProtocolError: 1002,
	} {
		told := make(chan websocket.StatusCode, 1)
		url := accept(t, func(ctx context.Context, ws *websocket.Conn) {
			_, _, err := ws.Read(ctx)
			told <- websocket.CloseStatus(err)
		})
		c := mustDial(t, url, transport.Open{}, func(c *Config) { c.CloseTimeout = time.Minute })
		if err := c.Close(t.Context(), reason); err != nil {
			t.Error(err)
		}
		if got := <-told; got != want {
			t.Errorf("%v was told as %d", reason, got)
		}
	}
}

func TestCloseDoesNotWaitForAPeerThatIsSilent(t *testing.T) {
	t.Parallel()
	url := raw(t, func(net.Conn, *bufio.Reader) { <-t.Context().Done() })
	c := mustDial(t, url, transport.Open{}, func(c *Config) { c.CloseTimeout = 10 * time.Millisecond })
	received := make(chan error, 1)
	go func() {
		_, err := c.Receive(context.Background())
		received <- err
	}()
	if err := c.Close(t.Context(), transport.Done); err != nil {
		t.Error(err)
	}
	if err := <-received; !errors.Is(err, transport.ErrClosed) {
		t.Errorf("Receive: %v", err)
	}
}

func TestADialThatHangsEnds(t *testing.T) {
	t.Parallel()
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if _, err := dial(t, url, transport.Open{}, func(c *Config) { c.DialTimeout = 10 * time.Millisecond }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestEveryFaultOfAConfigIsNamed(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	_, err := New(Config{
		URL: "https://user:" + secret + "@x/", Headers: map[string]auth.Secret{"Bad Name": auth.NewSecret(secret + "\n")}, Proxy: "ftp://" + secret + "@x",
		TLS: TLS{CAFile: filepath.Join(t.TempDir(), "none"), CertFile: "c"}, DialTimeout: -1, PingTimeout: -1, PingInterval: -2, SendTimeout: -3, CloseTimeout: -1,
	})
	for _, field := range []string{"URL", "Headers", "Proxy", "TLS.CAFile", "TLS.CertFile", "DialTimeout", "PingTimeout", "PingInterval", "SendTimeout", "CloseTimeout"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("a secret is shown: %v", err)
	}
	cfg := Config{Headers: map[string]auth.Secret{"Authorization": auth.NewSecret(secret)}}
	b, err := json.Marshal(cfg)
	if err != nil || bytes.Contains(b, []byte(secret)) || strings.Contains(fmt.Sprintf("%+v %#v", cfg, cfg), secret) {
		t.Errorf("a secret is shown: %s, %v", b, err)
	}
	var back Config
	if err := json.Unmarshal([]byte(`{"url":"wss://x/y","headers":{"Authorization":"`+secret+`"}}`), &back); err != nil || back.Headers["Authorization"].Reveal() != secret {
		t.Errorf("read as %v, %v", back, err)
	}
	d, err := New(Config{URL: "wss://a.test/"})
	if err != nil {
		t.Fatal(err)
	}
	var fault *transport.ConfigError
	if _, err := d.Dial(t.Context(), transport.Open{Target: transport.Target{URL: "wss://b.test/"}}); !errors.As(err, &fault) {
		t.Errorf("another target: %v", err)
	}
}
