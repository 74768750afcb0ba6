package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/go-mcpool/mcpool/examples/internal/pluginbuild"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	execwrap "github.com/go-mcpool/mcpool/plugins/transport/exec"
	"github.com/go-mcpool/mcpool/plugins/transport/ssh"
	"github.com/go-mcpool/mcpool/plugins/transport/websocket"
)

// The protocol versions on either side of the border between the eras.
const (
	versionOld    = "2025-11-25"
	versionModern = "2026-07-28"
)

// road is a way to the server. One more is one more entry in world.roads.
type road struct {
	name, about string
	// config is what a pool needs to take it.
	config func(version string) mcpool.Config
	// cut cuts it wherever it is used at the moment, and returns in how many places.
	cut func() int
	// missing says why it is not to be had here; empty if it is.
	missing string
}

// world is the server, everything that leads to it, and the folder they live in.
type world struct {
	self    string // this program
	dir     string
	binary  pluginbuild.Binary // built when it is needed, if it was not given
	notes   notebook
	leash   *leash
	server  *serverProcess
	sshd    *sshd // nil where there is none
	web     *relay
	shell   *relay
	closers []func()
}

// newWorld starts everything. budget, if not nil, is how many bytes each connection
// lives for.
func newWorld(ctx context.Context, budget func() int64) (_ *world, err error) {
	w := &world{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if w.dir, err = os.MkdirTemp("", "transports"); err != nil {
		return nil, err
	}
	w.later(func() { _ = os.RemoveAll(w.dir) })
	w.notes = notebook(filepath.Join(w.dir, "notes"))
	if err = os.Mkdir(string(w.notes), 0o700); err != nil {
		return nil, err
	}
	if w.leash, err = newLeash(ctx); err != nil {
		return nil, err
	}
	w.later(w.leash.close)
	if w.server, err = startServer(ctx, w.self, string(w.notes)); err != nil {
		return nil, err
	}
	w.later(w.server.close)
	if w.web, err = startRelay(ctx, w.server.addr, budget); err != nil {
		return nil, err
	}
	w.later(w.web.close)
	switch w.sshd, err = startSSHD(ctx, w.dir); {
	case errors.Is(err, errNoSSHD):
		return w, nil
	case err != nil:
		return nil, err
	}
	w.later(w.sshd.close)
	if w.shell, err = startRelay(ctx, w.sshd.addr(), budget); err != nil {
		return nil, err
	}
	w.later(w.shell.close)
	return w, nil
}

func (w *world) later(f func()) { w.closers = append(w.closers, f) }

// close ends all of it, the last thing first.
func (w *world) close() {
	for i := range w.closers {
		w.closers[len(w.closers)-1-i]()
	}
}

// command is the server over stdio.
func (w *world) command() []string {
	return []string{w.self, serveFlag, "stdio", string(w.notes), w.leash.addr()}
}

// roads are all ways to the server.
func (w *world) roads(ctx context.Context) ([]road, error) {
	roads := []road{
		{
			name: "http", about: "Streamable HTTP", cut: w.web.cut,
			config: func(version string) mcpool.Config {
				return mcpool.Config{Endpoint: "http://" + w.web.addr() + "/" + version, ProtocolVersion: version}
			},
		},
		{
			name: "stdio", about: "a child process", cut: w.leash.cut,
			config: func(version string) mcpool.Config {
				words := w.command()
				return mcpool.Config{Command: mcpool.Command{Path: words[0], Args: words[1:]}, ProtocolVersion: version}
			},
		},
	}
	ws, err := websocket.New(websocket.Config{URL: "ws://" + w.web.addr() + "/ws", Proxy: "-"})
	if err != nil {
		return nil, err
	}
	roads = append(roads, road{
		name: "websocket", about: "plugins/transport/websocket", cut: w.web.cut,
		config: func(version string) mcpool.Config { return mcpool.Config{Dialer: ws, ProtocolVersion: version} },
	})
	overSSH := road{name: "ssh", about: "plugins/transport/ssh to OpenSSH's sshd", missing: errNoSSHD.Error()}
	if w.sshd != nil {
		known, err := w.sshd.known("known_hosts", w.shell.addr())
		if err != nil {
			return nil, err
		}
		d, err := ssh.New(ssh.Config{
			Address: w.shell.addr(), User: w.sshd.user, Command: w.command(),
			KnownHosts: []string{known}, KeyFiles: []string{w.sshd.keyFile}, Agent: "-",
		})
		if err != nil {
			return nil, err
		}
		overSSH.missing, overSSH.cut = "", w.shell.cut
		overSSH.config = func(version string) mcpool.Config { return mcpool.Config{Dialer: d, ProtocolVersion: version} }
	}
	roads = append(roads, overSSH)
	wrapped := road{name: "exec", about: "plugins/transport/exec through sh", missing: "no sh in PATH"}
	if _, err := exec.LookPath("sh"); err == nil && runtime.GOOS != "windows" {
		d, err := execwrap.New(execwrap.Config{Command: append([]string{"sh", "-c", `"$@"; exit $?`, "sh"}, w.command()...)})
		if err != nil {
			return nil, err
		}
		wrapped.missing, wrapped.cut = "", w.leash.cut
		wrapped.config = func(version string) mcpool.Config { return mcpool.Config{Dialer: d, ProtocolVersion: version} }
	}
	plugin, err := w.throughPlugin(ctx)
	if err != nil {
		return nil, err
	}
	roads = append(roads, wrapped, plugin)
	for i := range roads {
		roads[i] = roads[i].patient()
	}
	return roads, nil
}

// patient gives slow machines time: nothing here is about how soon one gives up.
func (r road) patient() road {
	inner := r.config
	r.config = func(version string) mcpool.Config {
		cfg := inner(version)
		cfg.Name, cfg.ConnectTimeout, cfg.RestartGrace = r.name, time.Minute, time.Minute
		return cfg
	}
	return r
}
