package exec

import "syscall"

// procAttr makes the command lead a group, and has the kernel kill it with this process:
// one that does not read would not notice.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
