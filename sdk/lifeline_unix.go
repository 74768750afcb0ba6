//go:build unix

package sdk

import (
	"os"
	"syscall"
)

// keepFromChildren closes the descriptor in the programs that the plugin starts.
func keepFromChildren(fd int) { syscall.CloseOnExec(fd) }

// killGroup ends what the plugin started and did not end. The host made the plugin
// the leader of a group; run by something else it may be in another's.
func killGroup() {
	if pid := os.Getpid(); syscall.Getpgrp() == pid {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}
