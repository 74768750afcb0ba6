//go:build unix

package sdk

import (
	"os"
	"syscall"
)

// keepFromChildren closes the descriptor in the programs that the plugin starts.
func keepFromChildren(fd int) { syscall.CloseOnExec(fd) }

// killGroup ends what the plugin started and did not end. The host made the plugin
// the leader of a group; run by something else it may be in another's. The plugin itself
// goes over to the host's group before, to end in its own way, with a status and counters
// of coverage. Where there is no host any more it cannot, and dies with the rest.
func killGroup() {
	pid := os.Getpid()
	if syscall.Getpgrp() != pid {
		return
	}
	if group, err := syscall.Getpgid(os.Getppid()); err == nil {
		_ = syscall.Setpgid(0, group)
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}
