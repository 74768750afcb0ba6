//go:build unix

package main

import (
	"errors"
	"os"
	"syscall"
)

// stopSignal is nil where there is none.
func stopSignal() os.Signal { return syscall.SIGSTOP }

// alive reports whether there is such a process.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
