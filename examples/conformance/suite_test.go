package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/examples/internal/peers"
)

var update = flag.Bool("update", false, "write what the suites say to testdata")

// patience is how long one run of the client may take. The suite has a little more.
const patience = 3 * time.Minute

// reasons says why something in testdata is not a success. Every such line needs one,
// by scenario or by check.
var reasons = map[string]string{
	"auth/2025-03-26-oauth-metadata-backcompat": "the suite's server names another issuer than the one asked for, which RFC 8414, 3.3 has clients refuse; later suites mend it",
	"auth/iss-normalized":                       "that the login is refused is the point",
	"auth/iss-supported-missing":                "that the login is refused is the point",
	"auth/iss-unexpected":                       "that the login is refused is the point",
	"auth/iss-wrong-issuer":                     "that the login is refused is the point",
	"auth/metadata-issuer-mismatch":             "that the server is refused is the point",
	"auth/resource-mismatch":                    "that the server is refused is the point",
	"auth/scope-retry-limit":                    "that the client gives up is the point",

	"sep-2575-client-declares-elicitation-capability": "a session declares it only for calls that can answer",
	"sep-2575-client-declares-roots-capability":       "a pool has no roots",
	"sep-2575-client-declares-sampling-capability":    "a session declares it only for calls that can answer",
	"sep-2243-client-includes-standard-headers":       "some methods have no name to put into a header",
	"sep-2640-client-no-prefetch":                     "skills are an agent's affair, not a pool's",
	"sep-2640-client-verify-digest":                   "skills are an agent's affair, not a pool's",
	"sep-2640-client-verify-frontmatter":              "skills are an agent's affair, not a pool's",
	"sep-2640-client-verify-size":                     "skills are an agent's affair, not a pool's",
}

// TestTheConformanceSuitesSayWhatTheyAlwaysSay runs each suite as a whole and holds
// every check against testdata: one that fails is a regression, and one that begins
// to pass has to be written down, so that it stays so.
func TestTheConformanceSuitesSayWhatTheyAlwaysSay(t *testing.T) {
	for _, suite := range []struct{ version, module string }{
		{"0.1.16", "conformance-stable"},
		{"0.2.0-alpha.12", "@modelcontextprotocol/conformance"},
	} {
		t.Run(suite.version, func(t *testing.T) {
			node, dir := peers.Node(t, suite.module)
			if v := version(t, dir); v != suite.version {
				t.Fatalf("%s is version %s: run .ci/node/install, or change the test", suite.module, v)
			}
			got := runSuite(t, node, filepath.Join(dir, "dist", "index.js"))
			file := filepath.Join("testdata", suite.version+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := read(t, string(data))
			for _, key := range slices.Sorted(maps.Keys(union(got.lines, want))) {
				if got.lines[key] != want[key] {
					t.Errorf("%s: %s, want %s%s", key, or(got.lines[key]), or(want[key]), got.detail(key))
				}
			}
		})
	}
}

// outcome is what a suite said: by "scenario check", with the states that the check
// was in, and by "scenario client", how the client ended.
type outcome struct {
	lines   map[string]string
	failure map[string][]string // by "scenario check"
	stderr  map[string]string   // by scenario
}

func runSuite(t *testing.T, node, suite string) *outcome {
	t.Helper()
	out := t.TempDir()
	turns := takeTurns(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, suite, "client", "--suite", "all", "--output-dir", out,
		"--timeout", fmt.Sprint((patience + 10*time.Second).Milliseconds()), "--command", self)
	// With the race detector, each client would wait a second before it exits.
	cmd.Env = append(os.Environ(), asClient+"="+turns.addr, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	cmd.WaitDelay = 5 * time.Second
	said, err := cmd.CombinedOutput()
	// Its exit status is about failed checks, of which we expect some.
	if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) || !bytes.Contains(said, []byte("SUITE SUMMARY")) {
		t.Fatalf("the suite ended with %v:\n%s", err, said)
	}
	got := &outcome{lines: make(map[string]string), failure: make(map[string][]string), stderr: make(map[string]string)}
	states := make(map[string][]string)
	walk := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "checks.json" {
			return err
		}
		return got.collect(states, out, path)
	}
	if err := filepath.WalkDir(out, walk); err != nil {
		t.Fatal(err)
	}
	for key, s := range states {
		slices.Sort(s)
		got.lines[key] = strings.Join(slices.Compact(s), "+")
	}
	for scenario := range got.stderr {
		got.lines[scenario+" client"] = turns.ending(scenario)
	}
	return got
}

// stamp is what the suite puts behind a scenario's name.
var stamp = regexp.MustCompile(`-\d{4}-\d\d-\d\dT[-\dZ]+$`)

func (o *outcome) collect(states map[string][]string, dir, path string) error {
	folder, err := filepath.Rel(dir, filepath.Dir(path))
	if err != nil {
		return err
	}
	scenario := stamp.ReplaceAllString(filepath.ToSlash(folder), "")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var checks []struct {
		ID      string `json:"id"`
		Status  string `json:"status"`
		Message string `json:"errorMessage"`
		Text    string `json:"description"`
	}
	if err := json.Unmarshal(data, &checks); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, c := range checks {
		if c.Status == "INFO" {
			continue
		}
		if c.ID == "client-sse-retry-timing" && c.Status == "WARNING" {
			c.Status = "SUCCESS" // late, which is allowed, and a matter of this machine's load
		}
		key := scenario + " " + c.ID
		states[key] = append(states[key], c.Status)
		if c.Status != "SUCCESS" {
			o.failure[key] = append(o.failure[key], c.Status+": "+c.Text+"; "+c.Message)
		}
	}
	stderr, err := os.ReadFile(filepath.Join(filepath.Dir(path), "stderr.txt"))
	o.stderr[scenario] = string(stderr)
	return err
}

// detail is what helps to find out why a line differs.
func (o *outcome) detail(key string) string {
	scenario, _, _ := strings.Cut(key, " ")
	text := strings.Join(o.failure[key], "\n")
	if s := strings.TrimSpace(o.stderr[scenario]); s != "" {
		text += "\nthe client wrote:\n" + s
	}
	if text == "" {
		return ""
	}
	return "\n\t" + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n\t")
}

// String is the form of the files in testdata: state, scenario, check, and the reason
// if it is no success.
func (o *outcome) String() string {
	var b strings.Builder
	b.WriteString("# What the conformance suite says of this client. Written by: go test -update\n")
	for _, key := range slices.Sorted(maps.Keys(o.lines)) {
		state := o.lines[key]
		b.WriteString(state + " " + key)
		if !good(state) {
			b.WriteString(" # " + reason(key))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func good(state string) bool { return state == "SUCCESS" || state == "ok" }

func reason(key string) string {
	scenario, check, _ := strings.Cut(key, " ")
	if r := reasons[check]; r != "" {
		return r
	}
	return reasons[scenario]
}

// read is the reverse of String.
func read(t *testing.T, text string) map[string]string {
	t.Helper()
	lines := make(map[string]string)
	for line := range strings.Lines(text) {
		line, why, _ := strings.Cut(strings.TrimSpace(line), "#")
		state, key, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		lines[key] = state
		if !good(state) && (strings.TrimSpace(why) == "" || strings.TrimSpace(why) != reason(key)) {
			t.Errorf("%s is %s, and no reason is given: add it to reasons", key, state)
		}
	}
	return lines
}

func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func or(state string) string {
	if state == "" {
		return "nothing"
	}
	return state
}

func version(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return p.Version
}
