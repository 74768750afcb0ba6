//go:build !unix

package exec

import "os/exec"

// ownGroup does nothing: the system has no process groups.
func ownGroup(*exec.Cmd) {}

func signalGroup(cmd *exec.Cmd, hard bool) {
	if hard {
		_ = cmd.Process.Kill() // it may be gone
	}
}

func groupAlive(*exec.Cmd) bool { return false }
