//go:build unix

package host

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// The test binary plays every part: under its own name it runs the tests; under the
// name of a part (a symbolic link) it is a plugin, good or bad, or a host.
func TestMain(m *testing.M) {
	if play(os.Args[0]) {
		return
	}
	if os.Getenv(wire.CookieKey) != "" {
		os.Exit(99) // a part that is not there
	}
	// With the race detector, each part would wait a second before it exits.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait for processes, mostly
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
