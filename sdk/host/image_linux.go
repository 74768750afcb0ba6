package host

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyImage makes the copy in memory and seals it: not even this process can change
// it any more, and no file is left behind, whatever happens.
func copyImage(r io.Reader, dir string) (*image, error) {
	fd, err := unix.MemfdCreate("mcpool-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // a kernel older than MFD_EXEC
		fd, err = unix.MemfdCreate("mcpool-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil { // forbidden here
		return copyToFile(r, dir)
	}
	f := os.NewFile(uintptr(fd), "mcpool-plugin")
	if err := copyTo(f, r); err != nil {
		_ = f.Close()
		return nil, err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("sealing it: %w", err)
	}
	return &image{file: f}, nil
}
