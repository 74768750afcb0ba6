//go:build unix

package exec

import (
	"os/exec"
	"syscall"
)

// ownGroup has the command run in a process group of its own.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = procAttr() }

func signalOf(hard bool) syscall.Signal {
	if hard {
		return syscall.SIGKILL
	}
	return syscall.SIGTERM
}

func signalGroup(cmd *exec.Cmd, hard bool) {
	_ = syscall.Kill(-cmd.Process.Pid, signalOf(hard)) // there may be nobody left
}

func groupAlive(cmd *exec.Cmd) bool { return syscall.Kill(-cmd.Process.Pid, 0) == nil }
