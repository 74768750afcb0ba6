//go:build unix

package host

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// hostReport is what a host in a process of its own says about its plugin.
type hostReport struct {
	PID        int    `json:"pid"`
	Grandchild int    `json:"grandchild"`
	RunDir     string `json:"run_dir"`
	Stdin      string `json:"stdin"`
}

// playHost runs a plugin until it is killed.
func playHost() {
	ctx := context.Background()
	r, err := Launch(ctx, Plugin{
		Path: os.Getenv("TEST_PLUGIN"), AllowUnverified: true, Logger: slog.New(slog.DiscardHandler),
		Limits: Limits{MemoryBytes: -1},
	})
	if err != nil {
		panic(err)
	}
	if os.Getenv("TEST_BARE") != "" {
		if err := json.NewEncoder(os.Stdout).Encode(hostReport{PID: r.Stats().PID, RunDir: r.run.path}); err != nil {
			panic(err)
		}
		select {}
	}
	p, err := r.Auth(ctx, Instance{Name: "a", Config: goodConfig{Greeting: os.Getenv("TEST_GREETING")}})
	if err != nil {
		panic(err)
	}
	get := func(id string) string {
		c, err := p.Credentials(ctx, request(id))
		if err != nil {
			panic(err)
		}
		return c.Header.Get("Authorization")
	}
	rep := hostReport{PID: r.Stats().PID, RunDir: r.run.path, Stdin: get("stdin")}
	fmt.Sscan(get("spawn"), &rep.Grandchild)
	playMoment(ctx, r)
	if err := json.NewEncoder(os.Stdout).Encode(rep); err != nil {
		panic(err)
	}
	select {}
}

// ender is good until it is closed.
type ender struct {
	*good
	stderr *os.File // the host's, which is ours no more once go-plugin serves
	own    string   // a folder of its own, where Close takes its time
}

var ownStderr = os.Stderr

func newEnder(ctx context.Context, cfg goodConfig) (*ender, error) {
	g, err := newGood(ctx, cfg)
	if err == nil && cfg.Greeting == "talks" {
		go func() {
			for {
				slog.Info("still here")
			}
		}()
	}
	e := &ender{good: g, stderr: ownStderr}
	if err == nil && cfg.Greeting == "lingers" {
		e.own, err = os.MkdirTemp(filepath.Dir(os.Getenv(wire.EnvRunDir)), "own-")
	}
	return e, err
}

func (e *ender) Close(context.Context) error {
	switch e.cfg.Greeting {
	case "talks": // until nobody listens for certain
		for {
			if _, err := fmt.Fprintln(e.stderr, "bye"); err != nil {
				return err
			}
		}
	case "hangs":
		select {}
	case "exits":
		os.Exit(3)
	case "lingers": // until the host is gone
		host := os.Getppid()
		os.WriteFile(filepath.Join(e.own, "closing"), nil, 0o600)
		for os.Getppid() == host {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond) // long enough for a process that does not wait
		return os.RemoveAll(e.own)
	}
	return nil
}

func TestNothingSurvivesAHostThatIsKilled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		greeting string
		stop     func(t *testing.T, rep hostReport)
	}{
		"running": {},
		"plugin stopped": {stop: func(t *testing.T, rep hostReport) {
			t.Helper()
			stop(t, rep.PID)
		}},
		"plugin about to stop": {stop: func(t *testing.T, rep hostReport) {
			t.Helper()
			if err := syscall.Kill(rep.PID, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}},
		"grandchild stopped": {stop: func(t *testing.T, rep hostReport) { // the kernel sends the group a SIGHUP
			t.Helper()
			stop(t, rep.Grandchild)
		}},
		"plugin talking":            {greeting: "talks"},
		"plugin hanging in a Close": {greeting: "hangs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmp := shortTemp(t)
			cmd, rep := startHost(t, tmp, part(t, "ender").Path, "TEST_GREETING="+c.greeting)
			t.Cleanup(func() {
				if alive(rep.Grandchild) {
					syscall.Kill(rep.Grandchild, syscall.SIGKILL)
				}
			})
			if rep.Stdin != "/dev/null" {
				t.Errorf("the plugin reads from %s", rep.Stdin)
			}
			if !alive(rep.PID) || !alive(rep.Grandchild) || !exists(rep.RunDir) {
				t.Error("the plugin does not run")
			}
			if c.stop != nil {
				c.stop(t, rep)
			}
			cmd.Process.Kill()
			cmd.Wait()
			eventually(t, "the plugin ends", func() bool { return !alive(rep.PID) })
			// Where the kernel sends no signal, the next host may have to remove it. A plugin
			// that did not has ended nothing either.
			if runtime.GOOS == "linux" && exists(rep.RunDir) {
				t.Fatal("the plugin left its folder to the next host")
			}
			eventually(t, "what the plugin started ends", func() bool { return !alive(rep.Grandchild) })
			eventually(t, "its folder is removed, by it or by the next host", func() bool {
				sweepRunDirs(tmp)
				left, err := filepath.Glob(filepath.Join(tmp, "*"))
				return err == nil && len(left) == 0
			})
		})
	}
}

// The kernel does what a plugin does not that knows no lifeline, or is no plugin of the
// SDK's.
func TestAPluginThatReadsNoLifelineEndsWithItsHost(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("there is no signal at a parent's death here")
	}
	tmp := shortTemp(t)
	cmd, rep := startHost(t, tmp, part(t, "lavish").Path, "TEST_BARE=1")
	if !alive(rep.PID) {
		t.Error("the plugin does not run")
	}
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "the plugin ends", func() bool { return !alive(rep.PID) })
}

// startHost starts a host in a process of its own, which runs a plugin.
func startHost(t *testing.T, tmp, plugin string, env ...string) (*exec.Cmd, hostReport) {
	t.Helper()
	cmd := exec.Command(part(t, "host").Path)
	cmd.Env = append(append(os.Environ(), "TEST_PLUGIN="+plugin, "TMPDIR="+tmp), env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var rep hostReport
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &rep)
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatal(err)
	}
	return cmd, rep
}

// shortTemp is a folder whose name leaves room for a socket's.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "mt-") //nolint:usetesting // that one has a long name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
