package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// runDir is the private folder of a Running: sockets while a plugin starts, its
// temporary files, and its state where no other place was named. A lock in it tells
// later hosts whether the one that made it still lives.
type runDir struct {
	path string
	lock *os.File // held while the host lives; nil where there are no such locks
}

const (
	lockName = "lock"
	// newRunDirPrefix begins the name of a folder whose lock is not held yet.
	newRunDirPrefix = "new" + wire.RunDirPrefix
	// stillBorn is the age at which nobody is about to take that lock any more.
	stillBorn = time.Hour
	// maxTempDir leaves room in a socket's path, which may have 103 characters, for the
	// folder's name and what go-plugin adds.
	maxTempDir = 103 - len("/mcpool-1234567890/plugin-dir1234567890/plugin1234567890")
)

// newRunDir makes the folder, and removes those of hosts that are dead.
func newRunDir() (*runDir, error) {
	base := os.TempDir()
	if len(base) > maxTempDir && filepath.Separator == '/' {
		base = "/tmp"
	}
	sweepRunDirs(base)
	// The name that others sweep is given once the lock is held.
	fresh, err := os.MkdirTemp(base, newRunDirPrefix)
	if err != nil {
		return nil, fmt.Errorf("host: no private folder can be made: %w", err)
	}
	lock, err := takeLock(filepath.Join(fresh, lockName))
	if err == nil {
		path := filepath.Join(base, strings.TrimPrefix(filepath.Base(fresh), "new"))
		if err = os.Rename(fresh, path); err == nil {
			d := &runDir{path: path, lock: lock}
			if err = os.Mkdir(filepath.Join(path, "tmp"), 0o700); err == nil {
				return d, nil
			}
			d.remove()
		}
	}
	_ = os.RemoveAll(fresh)
	return nil, fmt.Errorf("host: no private folder can be made: %w", err)
}

func (d *runDir) remove() {
	_ = wire.RemoveRunDir(d.path) // a later host finishes it
	if d.lock != nil {
		_ = d.lock.Close()
	}
}

// sweepRunDirs removes folders whose host died without a chance to do it itself: while
// it lived, while it removed its folder, or while it made it. What its plugins left goes
// with them.
func sweepRunDirs(base string) {
	find := func(prefix string) []string {
		dirs, _ := filepath.Glob(filepath.Join(base, prefix+"*")) // a bad pattern finds none
		return dirs
	}
	for _, dir := range find(wire.OldRunDirPrefix) {
		_ = os.RemoveAll(dir)
	}
	for _, dir := range find(newRunDirPrefix) {
		if info, err := os.Lstat(dir); err == nil && time.Since(info.ModTime()) > stillBorn {
			_ = wire.RemoveRunDir(dir)
		}
	}
	for _, dir := range find(wire.RunDirPrefix) {
		if lock := takeDeadLock(filepath.Join(dir, lockName)); lock != nil {
			endOrphans(dir)
			_ = wire.RemoveRunDir(dir)
			_ = lock.Close()
		}
	}
}
