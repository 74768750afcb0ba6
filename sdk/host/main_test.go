//go:build unix

package host

import (
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
	goleak.VerifyTestMain(m)
}
