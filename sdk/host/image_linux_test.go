package host

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestASealedImageIsThisProcessesAlone(t *testing.T) {
	t.Parallel()
	img, err := copyImage(strings.NewReader("x"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer img.close()
	if img.file == nil {
		t.Skip("memory files are forbidden here")
	}
	if _, err := unix.FcntlInt(img.file.Fd(), unix.F_ADD_SEALS, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("another seal: %v", err)
	}
	if flags, err := unix.FcntlInt(img.file.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("other programs inherit it: %x, %v", flags, err)
	}
}
