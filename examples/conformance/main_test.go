package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// asClient is the address of the test that has the suite run this test binary as its
// client. The client asks it for a turn, because the suite starts all its scenarios at
// once, and tells it how it ended, because the suite keeps that to itself.
const asClient = "MCPOOL_CONFORMANCE_TEST"

func TestMain(m *testing.M) {
	addr := os.Getenv(asClient)
	if addr == "" {
		os.Exit(m.Run())
	}
	if err := playClient(addr); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func playClient(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	test, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer test.Close()
	if _, err := test.Read(make([]byte, 1)); err != nil { // it is our turn
		return err
	}
	end := "ok"
	err = run(ctx, os.Args[1:], os.Getenv)
	switch leak := goleak.Find(); {
	case leak != nil:
		end, err = "leak", leak
	case err != nil:
		end = "error"
	}
	_, werr := fmt.Fprintf(test, "%s client %s", os.Getenv("MCP_CONFORMANCE_SCENARIO"), end)
	return errors.Join(err, werr)
}

func TestTheClientSaysWhatItMisses(t *testing.T) {
	t.Parallel()
	env := map[string]string{}
	getenv := func(name string) string { return env[name] }
	check := func(args []string, want string) {
		t.Helper()
		if err := run(t.Context(), args, getenv); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	check(nil, "URL of the server")
	check([]string{"http://localhost:1/mcp"}, "MCP_CONFORMANCE_SCENARIO")
	env["MCP_CONFORMANCE_SCENARIO"], env["MCP_CONFORMANCE_CONTEXT"] = "auth/x", "{"
	check([]string{"http://localhost:1/mcp"}, "MCP_CONFORMANCE_CONTEXT")
}
