//go:build unix

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const exeSuffix = ""

// writableByOthers says who else could put another binary there, or nothing.
func writableByOthers(path string, info os.FileInfo) string {
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Sprintf("can be written by others than its owner (mode %v)", info.Mode().Perm())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Sprintf("belongs to another user (%d)", st.Uid)
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err == nil && dir.Mode().Perm()&0o002 != 0 && dir.Mode()&os.ModeSticky == 0 {
		return fmt.Sprintf("stands in a folder that everybody can write to (mode %v)", dir.Mode().Perm())
	}
	return ""
}

// readableByOthers says who else could look into a folder, or nothing.
func readableByOthers(info os.FileInfo) string {
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Sprintf("is open to others (mode %v)", info.Mode().Perm())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Sprintf("belongs to another user (%d)", st.Uid)
	}
	return ""
}
