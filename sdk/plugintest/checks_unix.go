//go:build unix

package plugintest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// unixChecks are those that need signals, or to be the host oneself.
func (b *binarySuite) unixChecks() []check {
	return []check{b.check("Signals", b.signals), b.check("HostGone", b.hostGone), b.check("Replaced", b.replaced)}
}

const canStop = true

// stopProcess is kill -STOP.
func stopProcess(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }

// processGone tells whether there is no process of that number any more.
func processGone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

// remainders looks for what a process leaves behind: itself, its group, its folder.
func remainders(pid int) func() string {
	if pid <= 1 {
		return func() string { return "" }
	}
	var dir string
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil {
		for kv := range bytes.SplitSeq(env, []byte{0}) {
			if v, ok := strings.CutPrefix(string(kv), wire.EnvRunDir+"="); ok {
				dir = v
			}
		}
	}
	return func() string {
		if syscall.Kill(pid, 0) == nil {
			return fmt.Sprintf("its process %d", pid)
		}
		if syscall.Kill(-pid, 0) == nil {
			return fmt.Sprintf("something of its process group %d", pid)
		}
		if _, err := os.Lstat(dir); dir != "" && err == nil {
			return "its folder " + dir
		}
		return ""
	}
}
