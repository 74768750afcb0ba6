//go:build unix

package host

import (
	"os"
	"strconv"
	"syscall"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// tie makes the lifeline, a pipe.
func (c *child) tie() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	c.theirs, c.lifeline = r, w
	c.cmd.ExtraFiles = append(c.cmd.ExtraFiles, r)
	c.cmd.Env = append(c.cmd.Env, wire.EnvLifeline+"="+strconv.Itoa(2+len(c.cmd.ExtraFiles)))
	return nil
}

// killGroup ends a group whose leader has not been waited for.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
