package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/examples/internal/pluginbuild"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/plugins/transport/websocket"
	"github.com/go-mcpool/mcpool/sdk/host"
)

// webSocketPlugin is what is built.
const webSocketPlugin = "transport/websocket/cmd/mcpool-transport-websocket"

// throughPlugin is the WebSocket again, by the binary of the same package, in a process
// of its own. Every other cut ends that process.
func (w *world) throughPlugin(ctx context.Context) (road, error) {
	r := road{name: "plugin", about: "a binary of plugins/transport/websocket, launched by sdk/host"}
	if w.binary.Path == "" {
		if _, absent := exec.LookPath("go"); absent != nil {
			r.missing = "no go command in PATH to build the binary with"
			return r, nil //nolint:nilerr // it is not to be had here, which is no fault
		}
		var err error
		if w.binary, err = pluginbuild.Build(ctx, w.dir, webSocketPlugin, "one"); err != nil {
			return r, err
		}
	}
	plugin, err := host.Launch(ctx, host.Plugin{
		Path: w.binary.Path, SHA256: w.binary.SHA256, Limits: patience(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return r, err
	}
	w.later(func() { _ = plugin.Close(context.WithoutCancel(ctx)) })
	dialer, err := plugin.Transport(ctx, host.Instance{
		Name: "tools", Config: websocket.Config{URL: "ws://" + w.web.addr() + "/ws", Proxy: "-"},
	})
	if err != nil {
		return r, err
	}
	r.config = func(version string) mcpool.Config { return mcpool.Config{Dialer: dialer, ProtocolVersion: version} }
	var cuts atomic.Int64
	r.cut = func() int {
		if cuts.Add(1)%2 == 1 {
			return w.web.cut()
		}
		return kill(plugin.Stats().PID)
	}
	return r, nil
}

// patience has the host start the plugin again at once, however often it dies: it dies
// here more often than anywhere else.
func patience() host.Limits {
	return host.Limits{RestartMin: time.Millisecond, RestartMax: 10 * time.Millisecond, CircuitAfter: -1, Start: time.Minute}
}

// kill ends a process on the spot, if there is one, and returns how many it were.
func kill(pid int) int {
	if pid == 0 {
		return 0 // the next one is not there yet
	}
	p, err := os.FindProcess(pid)
	if err != nil || p.Kill() != nil {
		return 0 // it is gone already
	}
	return 1
}
