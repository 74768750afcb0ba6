// Package genfile writes generated files, or tells how they differ from what
// is there.
package genfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Sync makes the file at path hold want. With check set it writes nothing and
// returns an error that shows the first line that differs.
func Sync(path string, want []byte, check bool) error {
	got, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && bytes.Equal(got, want) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is out of date, run \"make generate\"%s", path, firstDiff(got, want))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, want, 0o644)
}

// firstDiff shows the first line in which got and want differ.
func firstDiff(got, want []byte) string {
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range max(len(g), len(w)) {
		var have, need []byte
		if i < len(g) {
			have = g[i]
		}
		if i < len(w) {
			need = w[i]
		}
		if !bytes.Equal(have, need) {
			return fmt.Sprintf("; first difference, line %d:\n-%s\n+%s", i+1, have, need)
		}
	}
	return ""
}
