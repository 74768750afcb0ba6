package plugintest

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test binary plays the plugins too; see play.
func TestMain(m *testing.M) {
	if play(os.Args[0]) {
		return
	}
	// The plugins of these tests are this binary: with the race detector, each would wait
	// a second before it exits.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	goleak.VerifyTestMain(m)
}
