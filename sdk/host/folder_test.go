//go:build unix

package host

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// deafOnce has go-plugin find no place for its socket when it starts the second time.
func deafOnce() {
	dir := os.Getenv("CRASH_DIR")
	starts, _ := filepath.Glob(filepath.Join(dir, "start-*"))
	os.WriteFile(filepath.Join(dir, "start-"+strconv.Itoa(len(starts))), nil, 0o600)
	if len(starts) == 1 {
		os.Setenv(plugin.EnvUnixSocketDir, filepath.Join(dir, "no-such-folder"))
	}
}

// The folder of a plugin has the state of its instances, its home, its temporary files
// and, where there are no memory files, the binary: it is needed for as long as the host
// goes on, however a process ends.
func TestTheFolderOfAPluginOutlivesItsProcesses(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Running){
		"Replace": func(t *testing.T, r *Running) {
			t.Helper()
			if err := r.Replace(t.Context(), part(t, "next")); err != nil {
				t.Fatal(err)
			}
		},
		// go-plugin's own call, with which its Client.Kill begins.
		"it serves no more": func(t *testing.T, r *Running) {
			t.Helper()
			r.mu.Lock()
			conn := r.proc.conn
			r.mu.Unlock()
			_ = stopServing(t.Context(), conn)
		},
		"it cannot listen": func(t *testing.T, r *Running) {
			t.Helper()
			kill(r)
			eventually(t, "the next process ends at once", func() bool { return r.Stats().Failures == 2 })
			if why := r.Stats().LastFailure; !strings.Contains(why, "no-such-folder") {
				t.Errorf("the last failure is %q", why)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CRASH_DIR", t.TempDir())
			p := part(t, "deaf")
			p.Env = []string{"CRASH_*"}
			p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = time.Millisecond, time.Millisecond, 6
			r := launch(t, p)
			a := open(t, r, Instance{Name: "a"})
			grandchild := pidOf(t, value(t, a, "spawn"))
			state := filepath.Join(value(t, a, "state"), "kept")
			if err := os.WriteFile(state, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			starts := r.Stats().Starts
			end(t, r)
			tmp := ""
			eventually(t, "another process answers", func() bool {
				if s := r.Stats(); s.Failures > 5 {
					t.Fatalf("it cannot be started again: %s", s.LastFailure)
				}
				c, err := a.Credentials(t.Context(), request("env:TMPDIR"))
				tmp = c.Header.Get("Authorization")
				return err == nil && r.Stats().Starts > starts
			})
			eventually(t, "what the first one started ends", func() bool { return !alive(grandchild) })
			for what, path := range map[string]string{
				"the instance's state": state, "the host's lock": filepath.Join(r.run.path, lockName), "TMPDIR": tmp,
			} {
				if !exists(path) {
					t.Errorf("%s is gone: %s", what, path)
				}
			}
		})
	}
}

func stopServing(ctx context.Context, conn *grpc.ClientConn) error {
	return conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
}

// It is the host that ends the group of a plugin that could not.
func TestWhatAPluginStartedEndsHoweverThatCrashes(t *testing.T) {
	t.Parallel()
	for name, crash := range map[string]func(t *testing.T, a auth.Provider){
		"a panic in a goroutine": func(t *testing.T, a auth.Provider) {
			t.Helper()
			_, _ = a.Credentials(t.Context(), request("crash"))
		},
		"a segmentation fault": func(t *testing.T, a auth.Provider) {
			t.Helper()
			_, _ = a.Credentials(t.Context(), request("segv"))
		},
		"an exit in Close": func(t *testing.T, a auth.Provider) {
			t.Helper()
			_ = a.Close(t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := launch(t, part(t, "ender"))
			a := open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "exits"}})
			pid, grandchild := r.Stats().PID, pidOf(t, value(t, a, "spawn"))
			t.Cleanup(func() {
				if alive(grandchild) {
					syscall.Kill(grandchild, syscall.SIGKILL)
				}
			})
			crash(t, a)
			eventually(t, "the plugin ends", func() bool { return !alive(pid) })
			eventually(t, "what it started ends", func() bool { return !alive(grandchild) })
		})
	}
}
