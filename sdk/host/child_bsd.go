//go:build unix && !linux

package host

import "syscall"

func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit cannot tell without reaping here: the group is ended right after that.
func awaitExit(int) bool { return false }
