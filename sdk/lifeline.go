package sdk

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// lifeline notices that the host is gone, however it went: the kernel closes the
// other end.
type lifeline struct {
	set      *instances
	expected atomic.Bool // the host said that it will close its end
	once     sync.Once   // of end
}

// lifelineFD is the descriptor that the host gave us to watch; false where it gave none.
func lifelineFD() (fd int, ok bool) {
	v := os.Getenv(wire.EnvLifeline)
	if v == "stdin" {
		return 0, true
	}
	fd, err := strconv.Atoi(v)
	return fd, err == nil && fd >= 3
}

func watchLifeline(set *instances) *lifeline {
	l := &lifeline{set: set}
	fd, ok := lifelineFD()
	if !ok {
		return l
	}
	f := os.Stdin
	if fd > 0 {
		keepFromChildren(fd)
		f = os.NewFile(uintptr(fd), "lifeline")
	}
	if fd, err := strconv.Atoi(os.Getenv(wire.EnvImage)); err == nil && fd >= 3 {
		keepFromChildren(fd)
	}
	go func() {
		_, _ = io.Copy(io.Discard, f)
		l.end()
	}()
	preferLifeline()
	return l
}

// expect says that the end of the host's side is no accident.
func (l *lifeline) expect() { l.expected.Store(true) }

// end ends the process and everything it started. It does not return.
func (l *lifeline) end() { l.once.Do(l.finish) }

// finish waits for nobody longer than CloseGrace: nothing else ends a plugin whose
// Close hangs and whose host is gone.
func (l *lifeline) finish() {
	if l.expected.Load() {
		os.Exit(0) //nolint:forbidigo // this is the end of the program's main
	}
	ctx, cancel := context.WithTimeout(context.Background(), wire.CloseGrace)
	defer cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = l.set.closeAll(ctx)
	}()
	select {
	case <-closed:
	case <-ctx.Done():
	}
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
