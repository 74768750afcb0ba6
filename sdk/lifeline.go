package sdk

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// lifeline notices that the host is gone, however it went: the kernel closes the
// other end.
type lifeline struct {
	set      *instances
	expected atomic.Bool // the host said that it will close its end
}

func watchLifeline(set *instances) *lifeline {
	l := &lifeline{set: set}
	var f *os.File
	switch v := os.Getenv(wire.EnvLifeline); v {
	case "":
		return l
	case "stdin":
		f = os.Stdin
	default:
		fd, err := strconv.Atoi(v)
		if err != nil || fd < 3 {
			return l
		}
		keepFromChildren(fd)
		f = os.NewFile(uintptr(fd), "lifeline")
	}
	if fd, err := strconv.Atoi(os.Getenv(wire.EnvImage)); err == nil && fd >= 3 {
		keepFromChildren(fd)
	}
	preferLifeline()
	go func() {
		_, _ = io.Copy(io.Discard, f)
		l.end()
	}()
	return l
}

// expect says that the end of the host's side is no accident.
func (l *lifeline) expect() { l.expected.Store(true) }

// end ends the process and everything it started.
func (l *lifeline) end() {
	if l.expected.Load() {
		os.Exit(0) //nolint:forbidigo // this is the end of the program's main
	}
	ctx, cancel := context.WithTimeout(context.Background(), wire.CloseGrace)
	defer cancel()
	_ = l.set.closeAll(ctx)
	sweep()
	killGroup()
	os.Exit(0) //nolint:forbidigo,gocritic // the same; the context dies with the process
}

// sweep removes what the host would have removed.
func sweep() {
	dir := os.Getenv(wire.EnvRunDir)
	if filepath.IsAbs(dir) && strings.HasPrefix(filepath.Base(dir), wire.RunDirPrefix) {
		_ = os.RemoveAll(dir) //nolint:gosec // the host says which, and its name is checked
	}
}
