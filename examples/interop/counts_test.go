//go:build unix

package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// leavesNothing has the test fail if, after everything that was set up later has been
// cleaned up, there are goroutines, child processes or descriptors that were not there
// before. Tests that use it do not run beside others.
func leavesNothing(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	children, descriptors := processes(t), open(t)
	t.Cleanup(func() {
		if t.Failed() {
			return // with what it left there is no counting
		}
		var leak error // what looks for it waits for less than half a second
		poll(t, "goroutines to end", func() bool {
			leak = goleak.Find(before)
			return leak == nil
		}, func() string { return leak.Error() })
		var now []string
		poll(t, "child processes to end", func() bool {
			now = processes(t)
			return len(now) <= len(children)
		}, func() string { return fmt.Sprintf("before: %q, now: %q", children, now) })
		poll(t, "descriptors to be closed", func() bool {
			now = open(t)
			return len(now) <= len(descriptors)
		}, func() string { return fmt.Sprintf("before: %q\nnow: %q", descriptors, now) })
	})
}

// processes lists the processes below this one, where /proc tells.
func processes(t *testing.T) []string {
	t.Helper()
	parents := make(map[string]string)
	names := make(map[string]string)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid := filepath.Base(filepath.Dir(path))
		// The name is in parentheses and may hold some.
		end := bytes.LastIndexByte(data, ')')
		fields := strings.Fields(string(data[end+1:]))
		if end < 0 || len(fields) < 2 {
			continue
		}
		parents[pid], names[pid] = fields[1], string(data[:end+1])
	}
	var below []string
	self := fmt.Sprint(os.Getpid())
	for pid := range parents {
		for up := parents[pid]; up != "" && up != "0"; up = parents[up] {
			if up == self {
				below = append(below, names[pid])
				break
			}
		}
	}
	return below
}

// open lists the descriptors of this process, where /proc tells.
func open(t *testing.T) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil { // the one that reads the folder is gone
			list = append(list, to)
		}
	}
	return list
}

// childPIDs are the processes below this one, of which there must be some.
func childPIDs(t *testing.T) []int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has a /proc to find child processes in")
	}
	var pids []int
	poll(t, "child processes", func() bool {
		for _, name := range processes(t) {
			var pid int
			if _, err := fmt.Sscanf(name, "%d", &pid); err == nil {
				pids = append(pids, pid)
			}
		}
		return len(pids) > 0
	})
	return pids
}
