package websocket

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// kitPeer is a server that plays the peer that plugintest talks to.
func kitPeer(t *testing.T) string {
	t.Helper()
	return accept(t, func(ctx context.Context, ws *websocket.Conn) {
		plugintest.Peer{
			Read: func() ([]byte, error) {
				_, m, err := ws.Read(ctx)
				return m, err
			},
			Write: func(m []byte) error { return ws.Write(ctx, websocket.MessageText, m) },
			Tear: func() { // in the middle of a frame's message
				if w, err := ws.Writer(ctx, websocket.MessageText); err == nil {
					_, _ = w.Write([]byte(strings.Repeat(" ", 64<<10)))
				}
			},
			Done: ctx.Done(),
		}.Serve()
	})
}

func refusing(t *testing.T) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
}

func silent(t *testing.T) string {
	t.Helper()
	return "ws" + strings.TrimPrefix(plugintest.Silent(t), "http")
}

func kitOpen() transport.Open {
	return transport.Open{
		Target: transport.Target{Name: "kit"}, Header: http.Header{"X-Token": {"token-4711-secret"}},
		Identity: transport.Identity{ID: "a", Attrs: map[string]string{"team": "red"}},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	open := func(_ context.Context, cfg Config) (*Dialer, error) { return New(cfg) }
	plugintest.Transport(t, open, plugintest.TransportOptions[Config]{
		Config: Config{URL: kitPeer(t), Proxy: "-"}, Open: kitOpen(),
		Stalled: &Config{URL: silent(t), Proxy: "-", DialTimeout: time.Hour},
		Failures: []plugintest.TransportFailure[Config]{
			{Name: "no URL", Field: "URL"},
			{Name: "another scheme", Config: Config{URL: "https://mcp.example"}, Field: "URL"},
			{Name: "refused", Config: Config{URL: refusing(t), Proxy: "-"}, Refused: true},
		},
	})
}

func TestTheBinaryKeepsTheContract(t *testing.T) {
	t.Parallel()
	in := func(url string) host.Instance {
		cfg := map[string]any{"url": url, "proxy": "-", "dial_timeout": "1h"}
		return host.Instance{Name: "a", Config: cfg}
	}
	stalled := in(silent(t))
	plugintest.Binary(t, plugintest.Build(t, "./cmd/mcpool-transport-websocket"), plugintest.BinaryOptions{
		Transport: &plugintest.TransportOptions[host.Instance]{
			Config: in(kitPeer(t)), Open: kitOpen(), Stalled: &stalled,
			Failures: []plugintest.TransportFailure[host.Instance]{
				{Name: "no URL", Config: in(""), Field: "URL"},
				{Name: "another scheme", Config: in("https://mcp.example"), Field: "URL"},
				{Name: "refused", Config: in(refusing(t)), Refused: true},
			},
		},
	})
}
