package sdk

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// preferLifeline softens the signal that the host asked the kernel to send at its
// death, from SIGKILL to SIGCONT, so that there is time to clean up: SIGCONT wakes
// a stopped plugin, and then the lifeline speaks. The wish is stored per thread, in
// the first one, where main nearly always still runs; where it does not, SIGKILL
// stays, and the next host cleans up.
func preferLifeline() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Gettid() == unix.Getpid() {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGCONT), 0, 0, 0)
	}
}
