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
	p, err := r.Auth(ctx, Instance{Name: "a"})
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
	if err := json.NewEncoder(os.Stdout).Encode(rep); err != nil {
		panic(err)
	}
	select {}
}

func TestNothingSurvivesAHostThatIsKilled(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("plugin stopped %v", stopped), func(t *testing.T) {
			t.Parallel()
			tmp := shortTemp(t)
			plugin := part(t, "good").Path
			cmd, rep := startHost(t, tmp, plugin)
			if rep.Stdin != "/dev/null" {
				t.Errorf("the plugin reads from %s", rep.Stdin)
			}
			if !alive(rep.PID) || !exists(rep.RunDir) {
				t.Error("the plugin does not run")
			}
			if stopped {
				syscall.Kill(rep.PID, syscall.SIGSTOP)
			}
			cmd.Process.Kill()
			cmd.Wait()
			eventually(t, "the plugin ends", func() bool { return !alive(rep.PID) })
			eventually(t, "its folder is removed, by it or by the next host", func() bool {
				sweepRunDirs(tmp)
				left, err := filepath.Glob(filepath.Join(tmp, "*"))
				return err == nil && len(left) == 0
			})
			if alive(rep.Grandchild) {
				syscall.Kill(rep.Grandchild, syscall.SIGKILL)
			}
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
