package websocket

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

type textArgs struct {
	Text string `json:"text,omitempty"`
}

// serveMCP is a real MCP server behind a WebSocket.
func serveMCP(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mcp"}})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(32 << 20)
	m := mcp.NewServer(&mcp.Implementation{Name: "behind", Version: "1"}, nil)
	mcp.AddTool(m, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
	})
	line := websocket.NetConn(r.Context(), ws, websocket.MessageText)
	session, err := m.Connect(r.Context(), &mcp.IOTransport{Reader: line, Writer: line}, nil)
	if err == nil {
		_ = session.Wait()
	}
}

// serve runs a server for f and returns its URL. f returns when its context ends.
func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// accept runs a server that hands each accepted WebSocket to f.
func accept(t *testing.T, f func(ctx context.Context, ws *websocket.Conn)) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mcp"}})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ws.SetReadLimit(32 << 20)
		f(t.Context(), ws)
	})
}

// raw runs a server that shakes hands by itself and hands the bare connection to f.
func raw(t *testing.T, f func(line net.Conn, r *bufio.Reader)) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		line, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer line.Close()
		fmt.Fprintf(line, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Accept: %s\r\n\r\n", accepted(r))
		f(line, rw.Reader)
	})
}

// accepted is what a server answers to the key of a handshake (RFC 6455, 4.2.2).
func accepted(r *http.Request) string {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// dial opens a connection and closes it with the test.
func dial(t *testing.T, url string, open transport.Open, change func(*Config)) (transport.Conn, error) {
	t.Helper()
	cfg := Config{URL: url, Proxy: "-", CloseTimeout: 200 * time.Millisecond, DialTimeout: 2 * time.Minute}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), open)
	if err == nil {
		t.Cleanup(func() {
			if err := c.Close(context.Background(), transport.Done); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	return c, err
}

func mustDial(t *testing.T, url string, open transport.Open, change func(*Config)) transport.Conn {
	t.Helper()
	c, err := dial(t, url, open, change)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends a request and returns the answer with its id.
func ask(t *testing.T, c transport.Conn, id int, method, params string) map[string]any {
	t.Helper()
	if err := c.Send(t.Context(), fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, params)); err != nil {
		t.Fatal(err)
	}
	for {
		msg, err := c.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var answer map[string]any
		if err := json.Unmarshal(msg, &answer); err != nil {
			t.Fatalf("%q: %v", msg, err)
		}
		if answer["id"] == float64(id) {
			return answer
		}
	}
}

// hello makes the old handshake of MCP.
func hello(t *testing.T, c transport.Conn) {
	t.Helper()
	answer := ask(t, c, 1, "initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}`)
	if answer["result"] == nil {
		t.Fatalf("initialize: %v", answer)
	}
	if err := c.Send(t.Context(), []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		t.Fatal(err)
	}
}

// connectProxy is an HTTP proxy that tunnels, and counts.
func connectProxy(t *testing.T, used func(target string)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		there, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
		if r.Method != http.MethodConnect || err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer there.Close()
		used(r.Host)
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		fmt.Fprint(here, "HTTP/1.1 200 OK\r\n\r\n")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(there, here)
			_ = there.Close()
		}()
		_, _ = io.Copy(here, there)
		_ = here.Close()
		<-done
	}))
	t.Cleanup(s.Close)
	return s.URL
}
