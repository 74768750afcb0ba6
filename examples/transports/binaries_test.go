//go:build unix

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/core"
	"github.com/go-mcpool/mcpool/examples/internal/pluginbuild"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	httpprobe "github.com/go-mcpool/mcpool/plugins/probe/http"
	"github.com/go-mcpool/mcpool/plugins/probe/toolcall"
	execwrap "github.com/go-mcpool/mcpool/plugins/transport/exec"
	"github.com/go-mcpool/mcpool/plugins/transport/ssh"
	"github.com/go-mcpool/mcpool/sdk/host"
)

// launchBinary builds a plugin and launches it, with a host that notices within
// seconds that it hangs.
func launchBinary(t *testing.T, command string, env ...string) *host.Running {
	t.Helper()
	b, err := pluginbuild.Build(t.Context(), t.TempDir(), command, "one")
	if err != nil {
		t.Fatal(err)
	}
	limits := patience()
	limits.Health, limits.HealthTimeout = 200*time.Millisecond, time.Second
	p, err := host.Launch(t.Context(), host.Plugin{Path: b.Path, SHA256: b.SHA256, Env: env, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("closing the plugin: %v", err)
		}
	})
	return p
}

// harm kills the process of a plugin, or every third time stops it.
func harm(p *host.Running, n int) int {
	pid := p.Stats().PID
	if n%3 != 2 || pid == 0 {
		return kill(pid)
	}
	process, err := os.FindProcess(pid)
	if err != nil || process.Signal(syscall.SIGSTOP) != nil {
		return 0
	}
	return 1
}

func TestSSHAndExecServeAPoolAsBinaries(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ssh", "exec"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w, err := newWorld(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(w.close)
			var config any
			switch kind {
			case "exec":
				config = execwrap.Config{Command: append([]string{"sh", "-c", `"$@"; exit $?`, "sh"}, w.command()...)}
			case "ssh":
				if w.sshd == nil {
					if os.Getenv("MCPOOL_REQUIRE_SSHD") == "1" {
						t.Fatalf("MCPOOL_REQUIRE_SSHD is set, and %v", errNoSSHD)
					}
					t.Skip(errNoSSHD)
				}
				known, err := w.sshd.known("known_hosts", w.sshd.addr())
				if err != nil {
					t.Fatal(err)
				}
				config = ssh.Config{
					Address: w.sshd.addr(), User: w.sshd.user, Command: w.command(), KnownHosts: []string{known},
					KeyFiles: []string{w.sshd.keyFile}, Agent: "-", DialTimeout: time.Minute,
				}
			}
			plugin := launchBinary(t, fmt.Sprintf("transport/%s/cmd/mcpool-transport-%[1]s", kind), "PATH", "HOME")
			dialer, err := plugin.Transport(t.Context(), host.Instance{Name: "tools", Config: config})
			if err != nil {
				t.Fatal(err)
			}
			harms := 0
			through := road{
				name: kind, config: func(version string) mcpool.Config { return mcpool.Config{Dialer: dialer, ProtocolVersion: version} },
				cut: func() int { harms++; return harm(plugin, harms) },
			}.patient()
			for _, version := range []string{versionOld, versionModern} {
				here := mcpool.Config{Command: mcpool.Command{Path: w.self, Args: w.command()[1:]}, ProtocolVersion: version}
				want, err := sameCalls(t.Context(), open(t, here))
				if err != nil {
					t.Fatal(err)
				}
				got, err := sameCalls(t.Context(), open(t, through.config(version)))
				if err != nil {
					t.Fatal(err)
				}
				if err := differences(want, got); err != nil {
					t.Error(err)
				}
				r := &row{Protocol: version}
				for r.Cut.Cuts < 4 && !t.Failed() {
					if err := r.cut(t.Context(), through, 2*time.Second); err != nil {
						t.Error(err)
					}
				}
				t.Logf("%s: %+v, %d starts", version, r.Cut, plugin.Stats().Starts)
			}
		})
	}
}

// probed is a pool whose sessions a plugin looks at, with callers on it who leave some
// of the sessions idle.
type probed struct {
	*mcpool.Pool

	plugin *host.Running
	calls  atomic.Int64
	stop   func() // ends the callers
}

const probeEvery = 100 * time.Millisecond

func probing(t *testing.T, command string, config any) *probed {
	t.Helper()
	w, err := newWorld(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	p := &probed{plugin: launchBinary(t, command)}
	prober, err := p.plugin.Probe(t.Context(), host.Instance{Name: "looks", Config: config})
	if err != nil {
		t.Fatal(err)
	}
	p.Pool = open(t, mcpool.Config{
		Endpoint: "http://" + w.web.addr() + "/" + versionOld, ProtocolVersion: versionOld, Min: 8, Max: 8,
		HealthProbe: mcpool.ProbeWith(prober), ProbeInterval: probeEvery, ConnectTimeout: time.Minute, RestartGrace: time.Minute,
	})
	done := make(chan struct{})
	var callers sync.WaitGroup
	p.stop = sync.OnceFunc(func() {
		close(done)
		callers.Wait()
	})
	t.Cleanup(p.stop)
	for i := range 3 {
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if err := echo(context.Background(), p.Pool, fmt.Sprintf("%d of %d", n, i)); err != nil {
					t.Errorf("a call failed: %v", err)
				}
				p.calls.Add(1)
			}
		})
	}
	return p
}

// looked waits for probes that found something out, and for calls.
func (p *probed) looked(t *testing.T) {
	t.Helper()
	found := func() uint64 { s := p.Stats().Sessions; return s.Probes - s.ProbesUnknown }
	want, calls := found()+10, p.calls.Load()+10
	poll(t, "probes that find something out", func() bool { return found() >= want && p.calls.Load() >= calls })
}

func TestAProbeBinaryThatDiesOrHangsCondemnsNobody(t *testing.T) {
	t.Parallel()
	p := probing(t, "probe/toolcall/cmd/mcpool-probe-toolcall", toolcall.Config{
		Tool: "echo", Arguments: map[string]any{"text": "well"}, Expect: toolcall.Expect{Path: "content[0].text", Value: "well"}, Timeout: time.Minute,
	})
	p.looked(t)
	for n := range 7 {
		poll(t, "a process to harm", func() bool { return harm(p.plugin, n) == 1 })
		p.looked(t)
	}
	p.stop()
	s := p.Stats().Sessions
	if s.ClosedBy[core.ReasonProbe] != 0 || s.ProbeFailures != 0 {
		t.Errorf("%d sessions were closed, %d probes failed: %+v", s.ClosedBy[core.ReasonProbe], s.ProbeFailures, s)
	}
	t.Logf("%d probes, %d found nothing out, %d calls, %d starts", s.Probes, s.ProbesUnknown, p.calls.Load(), p.plugin.Stats().Starts)
}

func TestAProbeBinaryThatLiesDrainsNoPool(t *testing.T) {
	t.Parallel()
	var ill atomic.Bool
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(health.Close)
	p := probing(t, "probe/http/cmd/mcpool-probe-http", httpprobe.Config{URL: health.URL + "/${pool}", Timeout: time.Minute})
	p.looked(t)
	began := time.Now()
	ill.Store(true)
	poll(t, "sessions to be condemned, and spared", func() bool {
		s := p.Stats().Sessions
		return s.ClosedBy[core.ReasonProbe] >= 8 && s.ProbesSpared > 0
	})
	condemned := p.Stats().Sessions.ClosedBy[core.ReasonProbe]
	// Half of what is live within one interval, and an interval begins where the last
	// one has ended: one more for the one that was under way.
	if may := 4 * (uint64(time.Since(began)/probeEvery) + 2); condemned > may {
		t.Errorf("%d sessions were condemned, where %d may have been", condemned, may)
	}
	ill.Store(false)
	poll(t, "all sessions to be preferred again", func() bool { s := p.Stats().Sessions; return s.Weak == 0 && s.Live == 8 })
	p.stop()
	t.Logf("%d condemned, %+v", condemned, p.Stats().Sessions)
}
