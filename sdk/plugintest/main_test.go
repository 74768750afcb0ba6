package plugintest

import (
	"flag"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// never is the patience with what never comes: how short it is decides nothing, as long as
// everything else comes within it on a busy machine.
const never = 20 * time.Second

// The test binary plays the plugins too; see play.
func TestMain(m *testing.M) {
	if play(os.Args[0]) {
		return
	}
	// What these tests do is mostly to wait for something that never comes.
	flag.Parse()
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	// The plugins of these tests are this binary: with the race detector, each would wait
	// a second before it exits.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	goleak.VerifyTestMain(m)
}
