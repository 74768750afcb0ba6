//go:build unix

package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

// playMoment brings a host to the moment of its Close at which it is to be killed.
func playMoment(ctx context.Context, r *Running) {
	r.mu.Lock()
	p := r.proc
	r.mu.Unlock()
	switch os.Getenv("TEST_MOMENT") {
	case "closing":
		go r.Close(ctx)
	case "closed":
		if _, err := p.base.Shutdown(ctx, &basev1.ShutdownRequest{Last: true}); err != nil {
			panic(err)
		}
	case "let go": // and does not get to anything else
		lifeline := fmt.Sprintf("/proc/self/fd/%d", p.child.lifeline.Fd())
		go func() {
			for was, _ := os.Readlink(lifeline); ; {
				if is, _ := os.Readlink(lifeline); is != was {
					syscall.Kill(os.Getpid(), syscall.SIGSTOP)
					return
				}
			}
		}()
		go r.Close(ctx)
	}
}

func TestNothingSurvivesAHostThatIsKilledWhileItCloses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		greeting string
		ready    func(t *testing.T, tmp string, rep hostReport)
	}{
		"closing": {greeting: "lingers", ready: func(t *testing.T, tmp string, _ hostReport) {
			t.Helper()
			eventually(t, "the plugin closes its instance", func() bool {
				found, err := filepath.Glob(filepath.Join(tmp, "own-*", "closing"))
				return err == nil && len(found) == 1
			})
		}},
		"closed": {},
		"let go": {ready: func(t *testing.T, _ string, rep hostReport) {
			t.Helper()
			eventually(t, "the plugin ends", func() bool { return !alive(rep.PID) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "let go" && !procfs() {
				t.Skip("needs /proc")
			}
			tmp := shortTemp(t)
			cmd, rep := startHost(t, tmp, part(t, "ender").Path, "TEST_MOMENT="+name, "TEST_GREETING="+c.greeting)
			t.Cleanup(func() {
				if alive(rep.Grandchild) {
					syscall.Kill(rep.Grandchild, syscall.SIGKILL)
				}
			})
			if c.ready != nil {
				c.ready(t, tmp, rep)
			}
			cmd.Process.Kill()
			cmd.Wait()
			eventually(t, "the plugin ends", func() bool { return !alive(rep.PID) })
			eventually(t, "what the plugin started ends", func() bool { return !alive(rep.Grandchild) })
			if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
				t.Errorf("left are %q, %v", left, err)
			}
		})
	}
}
