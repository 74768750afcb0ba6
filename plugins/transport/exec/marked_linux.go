package exec

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// marked returns the processes that inherited the session's variable and live.
func marked(session string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is good
	want := []byte(marker + "=" + session)
	for _, file := range files {
		env, err := os.ReadFile(file) //nolint:gosec // of /proc
		if err != nil || !bytes.Contains(env, want) {
			continue // not ours to read, or gone; of a process that only waits to be noticed it is empty
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func signalMarked(session string, hard bool) {
	for _, pid := range marked(session) {
		_ = syscall.Kill(pid, signalOf(hard)) // it may be gone
	}
}
