// Command mcpool-transport-websocket is package websocket as a plugin binary.
package main

import (
	"context"

	"github.com/go-mcpool/mcpool/plugins/transport/websocket"
	"github.com/go-mcpool/mcpool/sdk"
)

func main() {
	sdk.Main(sdk.Info{
		Name: "mcpool-transport-websocket", Summary: "It carries MCP over WebSockets.",
		Environment: []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE"},
	}, sdk.Transport(func(_ context.Context, cfg websocket.Config) (*websocket.Dialer, error) { return websocket.New(cfg) }))
}
