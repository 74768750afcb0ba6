// Package peers finds the programs in other languages that tests of the examples
// talk to. .ci/node/install and .ci/python/install put them into the folder bin of the
// repository; tests skip where they are not.
package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Node returns the program node, at least version 22, and the path of a file below
// node_modules.
func Node(t testing.TB, module string) (node, path string) {
	t.Helper()
	const install = "run .ci/node/install"
	root := repository(t)
	modules := filepath.Join(root, "bin", "node", "node_modules")
	path = filepath.Join(modules, filepath.FromSlash(module))
	if _, err := os.Stat(path); err != nil {
		missing(t, "MCPOOL_REQUIRE_NODE", fmt.Sprintf("no %s: %s", module, install))
	}
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	node = filepath.Join(modules, "node-"+runtime.GOOS+"-"+arch, "bin", "node")
	if _, err := os.Stat(node); err == nil {
		return node, path
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "MCPOOL_REQUIRE_NODE", "no Node.js: "+install)
	}
	out, err := exec.CommandContext(t.Context(), node, "--version").Output()
	if err != nil {
		t.Fatalf("%s --version: %v", node, err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < 22 {
		missing(t, "MCPOOL_REQUIRE_NODE", "Node.js is older than 22: "+install)
	}
	return node, path
}

// Python returns the program python of the environment that has the package mcp.
func Python(t testing.TB) string {
	t.Helper()
	python := filepath.Join(repository(t), "bin", "python", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		missing(t, "MCPOOL_REQUIRE_PYTHON", "no Python with the package mcp: run .ci/python/install")
	}
	return python
}

// missing skips the test, or fails it where the environment says that the peer has
// to be there.
func missing(t testing.TB, require, why string) {
	t.Helper()
	if os.Getenv(require) != "" {
		t.Fatalf("%s is set, and there is %s", require, why)
	}
	t.Skip(why)
}

// repository is the folder above this one that has go.work in it.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Skip("outside the repository there are no peers to talk to")
		}
		dir = parent
	}
}
