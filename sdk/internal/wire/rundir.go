package wire

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// RunDirPrefix begins the name of every folder that EnvRunDir may name.
	RunDirPrefix = "mcpool-"
	// OldRunDirPrefix begins the name of one that is being removed. Nobody needs it, so
	// anybody may finish that.
	OldRunDirPrefix = "old" + RunDirPrefix
)

// RemoveRunDir removes the folder, under another name: what is killed meanwhile leaves
// nothing that looks like the folder of a host and has no lock any more, and who still
// writes to the old name finds nothing there.
func RemoveRunDir(dir string) error {
	old := filepath.Join(filepath.Dir(dir), "old"+filepath.Base(dir))
	if err := os.Rename(dir, old); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		old = dir // which is somebody's working directory, on Windows
	}
	return os.RemoveAll(old)
}
