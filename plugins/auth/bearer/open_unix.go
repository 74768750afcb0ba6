//go:build unix

package bearer

import (
	"os"
	"syscall"
)

// openFile does not wait for a writer if the path is that of a pipe.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the file in the configuration
}
