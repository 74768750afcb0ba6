//go:build unix

package ssh

import (
	"errors"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// A command may end before the watch is complete: its session ends all the same,
// though its stdin goes on, and says how.
func TestACommandThatEndsAtOnceEndsItsSession(t *testing.T) {
	t.Parallel()
	cfg := Config{Command: []string{"sh", "-c", "exit 3"}}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				cmd := exec.Command("sh", "-c", cfg.remote())
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as sshd does
				stdin, err := cmd.StdinPipe()
				if err != nil {
					t.Error(err)
					return
				}
				err = cmd.Run() // with a stdin that is open
				_ = stdin.Close()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 3 {
					t.Errorf("ended with %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}
