package sdk

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// The kernel keeps the signal that it sends at the parent's death per thread, and the
// host asked for it in the first one, the only one there was. The runtime promises
// main that thread only if init locks it, so this is the one init there is. Until
// preferLifeline gives the thread back, SIGKILL stays what it is.
func init() { //nolint:gochecknoinits // nothing else runs in the first thread for certain
	if hosted() {
		runtime.LockOSThread()
	}
}

// preferLifeline softens the signal that the host asked the kernel to send at its
// death, from SIGKILL to SIGCONT, so that there is time to clean up: SIGCONT wakes
// a stopped plugin, and then the lifeline speaks, which has to be watched already. In
// a goroutine that is not main's, SIGKILL stays, and the next host cleans up.
func preferLifeline() {
	if unix.Gettid() == unix.Getpid() {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGCONT), 0, 0, 0)
		runtime.UnlockOSThread()
	}
}

// hosted reports whether a host started this process and gave it a lifeline.
func hosted() bool {
	_, ok := lifelineFD()
	return ok && os.Getenv(wire.CookieKey) == wire.CookieValue
}
