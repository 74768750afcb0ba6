//go:build !unix

package host

import (
	"os"
	"syscall"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// tie makes the lifeline of the only descriptor that can be handed on here.
func (c *child) tie() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	c.theirs, c.lifeline, c.cmd.Stdin = r, w, r
	c.cmd.Env = append(c.cmd.Env, wire.EnvLifeline+"=stdin")
	return nil
}

func procAttr() *syscall.SysProcAttr { return nil }

func awaitExit(int) bool { return false }

// killGroup ends the process alone: there are no groups here.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
