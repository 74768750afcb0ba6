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
	goleak.VerifyTestMain(m)
}
