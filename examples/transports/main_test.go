package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/examples/internal/pluginbuild"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == serveFlag { // this binary is the server
		if err := runServer(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 3 && os.Args[1] == wrapFlag { // or what wraps it
		budget, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err != nil {
			os.Exit(2)
		}
		runWrapper(budget, os.Args[3:])
		return
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "transports-test"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(buildDir)
		os.Exit(code)
	}))
}

// theBinary is the plugin that all tests share.
var (
	buildDir  string
	theBinary = sync.OnceValues(func() (pluginbuild.Binary, error) {
		return pluginbuild.Build(context.Background(), buildDir, webSocketPlugin, "test")
	})
)

func TestEveryRoadLeadsToTheSameResultsAndNoCutFailsACall(t *testing.T) {
	var out bytes.Buffer
	failed := run(t.Context(), &out, options{json: true, each: 300 * time.Millisecond})
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v (%v)", err, failed)
	}
	if failed != nil || !r.OK {
		t.Errorf("%v", failed)
	}
	seen := make(map[string]int)
	for _, row := range r.Rows {
		seen[row.Road]++
		if row.Missing != "" {
			if row.Road == "ssh" && os.Getenv("MCPOOL_REQUIRE_SSHD") == "1" {
				t.Errorf("MCPOOL_REQUIRE_SSHD is set, and %s", row.Missing)
			}
			continue
		}
		if !row.Same || row.Calls == 0 || row.P50 <= 0 || row.P99 < row.P50 || row.Cut.Cuts == 0 || row.Cut.Calls == 0 || row.Cut.Failed != 0 {
			t.Errorf("%s, %s: %+v", row.Road, row.Protocol, *row)
		}
	}
	for _, row := range r.Rows { // over HTTP from 2026-07-28 on there is nothing that a cut ends
		if row.Missing == "" && row.Cut.Opened < 2 && (row.Road != "http" || row.Protocol != versionModern) {
			t.Errorf("%s, %s: no session was lost, so nothing was shown", row.Road, row.Protocol)
		}
	}
	for _, road := range []string{"http", "stdio", "websocket", "ssh", "exec", "plugin"} {
		if seen[road] == 0 {
			t.Errorf("no row for %s", road)
		}
	}
}

func TestDifferencesAreFound(t *testing.T) {
	t.Parallel()
	want := []string{"echo: a", "add: 2"}
	if err := differences(want, []string{"echo: a", "add: 2"}); err != nil {
		t.Error(err)
	}
	for _, got := range [][]string{nil, want[:1], {"echo: a", "add: 3"}, append(want, "more")} {
		if differences(want, got) == nil {
			t.Errorf("%q passed for %q", got, want)
		}
	}
}

func TestATableNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := table(&out, []*row{{Road: "http", Protocol: versionOld}, {Road: "ssh", Missing: errNoSSHD.Error()}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "ssh: not shown, sshd is not installed") {
		t.Errorf("printed %s", out.String())
	}
}
