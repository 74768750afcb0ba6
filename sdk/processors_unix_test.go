//go:build unix

package sdk

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestTheTimeUsedIsThatOfTheProgramAndOfTheSystemForIt(t *testing.T) {
	used := func() (user, system time.Duration) {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
	}
	user, system := used()
	for user == 0 || system == 0 { // each of these is of both
		user, system = used()
	}
	got := processorTime()
	if after, more := used(); got < user+system || got > after+more {
		t.Errorf("%v, and it was %v and %v before, %v and %v after", got, user, system, after, more)
	}
}

func TestNobodyGovernsWhatIsSaidAlready(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Setenv("GOMAXPROCS", "2")
	govern()
	if err := os.Unsetenv("GOMAXPROCS"); err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	govern()
}
