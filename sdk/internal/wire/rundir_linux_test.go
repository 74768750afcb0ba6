package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What is killed in the midst of it must not leave a folder without a lock, which nobody
// would ever remove.
func TestAFolderThatIsBeingRemovedIsCalledOld(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	dir := filepath.Join(tmp, RunDirPrefix+"1")
	makeDir(t, dir)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	watch := func(path string, what uint32) {
		if _, err := unix.InotifyAddWatch(fd, path, what); err != nil {
			t.Fatal(err)
		}
	}
	watch(tmp, unix.IN_MOVED_TO)
	watch(dir, unix.IN_DELETE)
	if err := RemoveRunDir(dir); err != nil {
		t.Fatal(err)
	}
	events := make([]byte, 1<<12)
	n, err := unix.Read(fd, events)
	if err != nil {
		t.Fatal(err)
	}
	renamed, removed := bytes.Index(events[:n], []byte(OldRunDirPrefix+"1")), bytes.Index(events[:n], []byte("lock"))
	if renamed < 0 || removed < renamed {
		t.Errorf("what happened: %q", events[:n])
	}
	empty(t, tmp)
}

func TestAFolderGoesAlthoughTheNextNameIsTaken(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	dir := filepath.Join(tmp, RunDirPrefix+"1")
	makeDir(t, dir)
	makeDir(t, filepath.Join(tmp, OldRunDirPrefix+"1"))
	if err := RemoveRunDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := RemoveRunDir(dir); err != nil {
		t.Errorf("removing it again: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(tmp, OldRunDirPrefix+"1")); err != nil {
		t.Fatal(err)
	}
	empty(t, tmp)
}

func makeDir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
