package mcpool

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes the test binary play a part: a server on stdio.
const childEnv = "MCPOOL_TEST_CHILD"

func TestMain(m *testing.M) {
	if part := os.Getenv(childEnv); part != "" {
		os.Exit(playChild(part))
	}
	goleak.VerifyTestMain(m)
}
