package main

import (
	"context"
	"log"
	"os"
	"time"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/plugins/probe/toolcall"
	execwrap "github.com/go-mcpool/mcpool/plugins/transport/exec"
	"github.com/go-mcpool/mcpool/plugins/transport/ssh"
	"github.com/go-mcpool/mcpool/plugins/transport/websocket"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/probe"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// The functions of this file are shown in docs/transports.md and docs/probes.md. They are compiled,
// and not run: they need servers.

func Example_webSocket() {
	ctx := context.Background()
	ws, err := websocket.New(websocket.Config{
		URL:     "wss://tools.example.com/mcp",
		Headers: map[string]auth.Secret{"Authorization": auth.NewSecret("Bearer " + os.Getenv("TOOLS_TOKEN"))},
	})
	if err != nil {
		log.Fatal(err) // every fault of the Config, each with its field
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Dialer: ws, Replay: mcpool.ReplayReadOnly})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
}

func Example_ssh() {
	ctx := context.Background()
	remote, err := ssh.New(ssh.Config{
		Address:  "build.example.com",
		User:     "tools",
		Command:  []string{"/usr/local/bin/mcp-server", "--root", "/srv/my project"}, // no quoting: each arrives as it is
		KeyFiles: []string{"/etc/tools/id_ed25519"},
	})
	if err != nil {
		log.Fatal(err)
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Dialer: remote, Max: 4})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
}

func Example_exec() {
	ctx := context.Background()
	container, err := execwrap.New(execwrap.Config{
		Command: []string{"docker", "run", "--rm", "-i", "--name", "mcp-${session}", "example/tools", "--tenant=${identity.id}"},
		After:   []string{"docker", "rm", "-f", "mcp-${session}"},
	})
	if err != nil {
		log.Fatal(err)
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Dialer: container, Max: 4})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
}

func Example_binary() {
	ctx := context.Background()
	plugin, err := host.Launch(ctx, host.Plugin{
		Path:   "/usr/lib/mcpool/mcpool-transport-websocket",
		SHA256: os.Getenv("TRANSPORT_SHA256"), // of checksums.txt, beside it in the release
		Env:    append(host.EnvProxy(), host.EnvTLS()...),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer plugin.Close(ctx)
	dialer, err := plugin.Transport(ctx, host.Instance{
		Name:    "tools",
		Config:  map[string]any{"url": "wss://tools.example.com/mcp", "ping_interval": "15s"},
		Secrets: map[string]auth.Secret{"headers.Authorization": auth.NewSecret("Bearer " + os.Getenv("TOOLS_TOKEN"))},
	})
	if err != nil {
		log.Fatal(err) // every fault of the configuration, each with its field
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Dialer: dialer, Replay: mcpool.ReplayReadOnly})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
}

// snippet:begin dialer
// cable is a Dialer of one's own, here one that gives another a deadline.
type cable struct{ next transport.Dialer }

func (c cable) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.next.Dial(ctx, open) // the context is for the opening alone
}

// snippet:end dialer

var _ transport.Dialer = cable{}

func Example_toolProbe() {
	ctx := context.Background()
	look, err := toolcall.New(toolcall.Config{
		Tool:   "status",
		Expect: toolcall.Expect{Path: "structuredContent.ready", Value: true, Latency: 500 * time.Millisecond},
	})
	if err != nil {
		log.Fatal(err)
	}
	calm, err := probe.Damp(look, probe.Damping{}) // two failures in a row, or none
	if err != nil {
		log.Fatal(err)
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: "https://tools.example.com/mcp", HealthProbe: mcpool.ProbeWith(calm)})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
}

func Example_probeBinary() {
	ctx := context.Background()
	plugin, err := host.Launch(ctx, host.Plugin{
		Path:   "/usr/lib/mcpool/mcpool-probe-http",
		SHA256: os.Getenv("PROBE_SHA256"), // of checksums.txt, beside it in the release
		Env:    append(host.EnvProxy(), host.EnvTLS()...),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer plugin.Close(ctx)
	look, err := plugin.Probe(ctx, host.Instance{
		Name:    "tools",
		Config:  map[string]any{"url": "https://tools.example.com/healthz", "body": `"ready": *true`, "latency": "500ms"},
		Secrets: map[string]auth.Secret{"headers.Authorization": auth.NewSecret("Bearer " + os.Getenv("HEALTH_TOKEN"))},
	})
	if err != nil {
		log.Fatal(err) // every fault of the configuration, each with its field
	}
	calm, err := probe.Damp(look, probe.Damping{}) // here, so that it outlives the plugin's process
	if err != nil {
		log.Fatal(err)
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: "https://tools.example.com/mcp", HealthProbe: mcpool.ProbeWith(calm)})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
}
