package ssh

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// unread is how many bytes wait in the stdin of a process.
func unread(t *testing.T, pid int) int {
	t.Helper()
	stdin, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/0", pid), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	var n int32
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, stdin.Fd(), syscall.TIOCINQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
		t.Fatal(errno)
	}
	return int(n)
}

// A copy of stdin that is stuck in a full pipe sees no end of it.
func TestACommandThatDoesNotReadIsGoneWhenTheSessionIs(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	for _, how := range []string{"closed", "cut", "killed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			var said []byte
			var end func()
			if how == "killed" {
				said, end = s.stuffElsewhere(t)
			} else {
				c, msg, err := stuff(t.Context(), s.config("stubborn"))
				if err != nil {
					t.Fatal(err)
				}
				said, end = msg, func() {
					if how == "cut" {
						ctx, cancel := context.WithCancel(t.Context())
						cancel()
						_, _ = c.Receive(ctx) // cuts the line
					}
					if err := c.Close(t.Context(), transport.Done); err != nil {
						t.Error(err)
					}
				}
			}
			var pids []int
			if err := json.Unmarshal(said, &pids); err != nil || len(pids) != 2 {
				t.Fatalf("%q, %v", said, err)
			}
			poll(t, "the pipe to be full", func() bool { return unread(t, pids[0]) >= 64<<10 })
			end()
			poll(t, "the processes to be gone", func() bool { return !running(pids[0]) && !running(pids[1]) })
		})
	}
}

// stuffElsewhere has a process of its own do that, and returns how to kill it.
func (s *sshd) stuffElsewhere(t *testing.T) (pids []byte, kill func()) {
	t.Helper()
	cfg, err := json.Marshal(s.config("stubborn"))
	if err != nil {
		t.Fatal(err)
	}
	client := exec.Command(os.Args[0], "play", "client")
	client.Stdin, client.Stderr = strings.NewReader(string(cfg)), os.Stderr
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { _ = client.Process.Kill(); _ = client.Wait() }
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line, kill
}

// A command that has ended leaves nothing behind, not even what minds no SIGTERM.
func TestWhatACommandLeavesBehindIsGone(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	cfg := s.config("")
	cfg.Command = []string{"sh", "-c", `trap "" TERM; sleep 3600 >/dev/null 2>&1 & echo $!`}
	msg, err := mustDial(t, cfg).Receive(t.Context())
	var pid int
	if _, scan := fmt.Sscan(string(msg), &pid); err != nil || scan != nil {
		t.Fatalf("%q, %v", msg, err)
	}
	poll(t, "the process to be gone", func() bool { return !running(pid) })
}
