//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// PostgreSQL refuses to run as root: then it runs as the user its package made, or
// as nobody.
func unprivileged() (uid, gid int, needed bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil {
			return uid, gid, true
		}
	}
	return 65534, 65534, true
}

func dropPrivileges(cmd *exec.Cmd) {
	// A group of its own keeps Ctrl-C from reaching the server before us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if uid, gid, needed := unprivileged(); needed {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} //nolint:gosec // ids fit
	}
}

func giveAway(dir string) error {
	uid, gid, needed := unprivileged()
	if !needed {
		return nil
	}
	return os.Chown(dir, uid, gid)
}
