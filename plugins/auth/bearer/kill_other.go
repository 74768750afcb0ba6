//go:build !unix

package bearer

import "os/exec"

// killGroup leaves the default: the command itself is killed.
func killGroup(*exec.Cmd) {}
