package genfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSyncWritesAndThenFindsNothingToDo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs", "a.md")
	if err := Sync(path, []byte("one\n"), false); err != nil {
		t.Fatal(err)
	}
	if err := Sync(path, []byte("one\n"), true); err != nil {
		t.Errorf("check after write: %v", err)
	}
}

func TestSyncCheckNamesTheDifferenceAndWritesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.md")
	if err := os.WriteFile(path, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Sync(path, []byte("one\nthree\n"), true)
	if err == nil {
		t.Fatal("check found no difference")
	}
	for _, part := range []string{path, "line 2", "-two", "+three", "make generate"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "one\ntwo\n" {
		t.Errorf("check changed the file to %q", got)
	}
}

func TestSyncCheckFailsForAMissingFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.md")
	if err := Sync(path, nil, true); err == nil {
		t.Error("check of a missing file succeeded")
	}
}
