package host

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// endOrphans ends what plugins of a dead host started and could not end, because they
// crashed or were killed themselves: whatever has the host's folder in its environment
// and is in a group that has lost its leader. A plugin that is there ends its own.
func endOrphans(dir string) {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return
	}
	for _, path := range environs {
		env, err := os.ReadFile(path) //nolint:gosec // of this user, or not readable
		if err != nil || !namesRunDir(env, dir) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		group, err := syscall.Getpgid(pid)
		if err == nil && group > 1 && !runs(group) {
			killGroup(group)
		}
	}
}

// runs reports whether a process is there, and not only its exit status that nobody
// has asked for, as in a container where the first process asks for none.
func runs(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return err == nil && !bytes.HasPrefix(rest, []byte("Z"))
}

// namesRunDir reports whether an environment names the folder, however it is spelled.
func namesRunDir(env []byte, dir string) bool {
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		if v, ok := bytes.CutPrefix(kv, []byte(wire.EnvRunDir+"=")); ok {
			return filepath.Base(string(v)) == filepath.Base(dir)
		}
	}
	return false
}
