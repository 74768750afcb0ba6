package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheShowEndsAndShowsAllThree(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, options{addr: "127.0.0.1:0", each: 300 * time.Millisecond}); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	for _, want := range []string{
		`(?m)^  answer a question +internal`,
		`(?m)^    tools/call echo +client`,
		`(?m)^      pool\.borrow`,
		`(?m)^      POST /mcp +server`, // the server's span, under the call's: the trace went over
		`mcpool_ready\{pool="tools"\} 1`,
		`mcpool_calls_total\{pool="tools"\} [1-9]`,
		`(?m)^  echo +[1-9]`,
		`session opened`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("it does not print %s", want)
		}
	}
	if t.Failed() || strings.Contains(out.String(), "%!") {
		t.Errorf("it printed\n%s", out.String())
	}
}
