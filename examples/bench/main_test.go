package main

import (
	"fmt"
	"os"
	"testing"
)

// The test binary is the server of the suite mcp when it is told to.
func TestMain(m *testing.M) {
	if runPlugin() {
		return
	}
	if addr := os.Getenv(serverEnv); addr != "" {
		if err := runServer(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
