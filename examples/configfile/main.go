// Command configfile has an operator's file say everything about a server: how it is
// reached, with whose credentials, and how to tell whether its sessions are good. Each
// of the three is a plugin binary, built here from plugins/transport/websocket,
// plugins/auth/bearer and plugins/probe/toolcall, and the program knows none of them.
//
//	go run ./examples/configfile
//
// The server speaks MCP in WebSocket messages and wants a token in the handshake. Calls go
// through; the transport's process is killed, and they still do; the server says of its
// open sessions that they are not ready any more, and the probe has them replaced.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/host"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "configfile:", err)
		stop()
		os.Exit(1)
	}
}

// tokenVariable is where the file says the token is.
const tokenVariable = "CONFIGFILE_TOKEN" //nolint:gosec // it is a name

// run does all of it, and undoes it.
func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "mcpool-configfile-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := build(ctx, dir); err != nil {
		return err
	}
	return runIn(ctx, out, dir)
}

// runIn does it with the binaries that are in a folder.
func runIn(ctx context.Context, out io.Writer, dir string) (err error) {
	server, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer server.close()
	if err := os.Setenv(tokenVariable, server.token); err != nil {
		return err
	}
	path, err := writeConfig(dir, server.url)
	if err != nil {
		return err
	}
	plugins, pool, err := open(ctx, path)
	if plugins != nil {
		defer func() { err = errors.Join(err, plugins.Close(context.WithoutCancel(ctx))) }()
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close(context.WithoutCancel(ctx))) }()
	return show(ctx, out, plugins, pool, server)
}

// open makes a pool of what the file says about the endpoint "tools".
func open(ctx context.Context, path string) (*host.Group, *mcpool.Pool, error) {
	// snippet:begin open
	cfg, err := host.LoadConfig(path)
	if err != nil {
		return nil, nil, err // every fault, by its path in the file
	}
	plugins, err := cfg.Launch(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	tools, err := plugins.Endpoint("tools")
	if err != nil {
		return plugins, nil, err
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{
		Endpoint: tools.URL, Auth: tools.Auth, Dialer: tools.Transport, HealthProbe: mcpool.ProbeWith(tools.Probe),
		ProbeInterval: 100 * time.Millisecond, Min: 2, Replay: mcpool.ReplayReadOnly,
	})
	// snippet:end open
	return plugins, pool, err
}

// show goes through what may happen.
func show(ctx context.Context, out io.Writer, plugins *host.Group, pool *mcpool.Pool, server *server) error {
	call := func(what string) error {
		res, err := pool.Call(ctx, "status", nil)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if res.IsError {
			return fmt.Errorf("%s: the tool failed", what)
		}
		fmt.Fprintf(out, "%s: %d sessions were opened so far, %d without the token were refused\n",
			what, server.sessions.Load(), server.refused.Load())
		return nil
	}
	if err := call("a call through three plugins"); err != nil {
		return err
	}
	carrier := plugins.Plugin("websocket")
	before := carrier.Stats()
	process, err := os.FindProcess(before.PID)
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		return err
	}
	if err := call("a call after the transport was killed"); err != nil {
		return err
	}
	if after := carrier.Stats(); after.PID == before.PID || after.Starts != before.Starts+1 {
		return fmt.Errorf("the transport was not started again: %+v", after)
	}
	server.tire()
	for server.tired() { // each probe asks the sessions that are idle
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the probe has not found out that the sessions are not ready: %w", ctx.Err())
		}
	}
	return call("a call after the probe had the sessions replaced")
}
