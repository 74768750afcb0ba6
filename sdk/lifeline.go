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
	set  *instances
	gone atomic.Bool // it has ended
	kept atomic.Bool // the host goes on in the folder
	once sync.Once   // of end
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
		l.gone.Store(true)
		l.end(0)
	}()
	preferLifeline()
	return l
}

// expect says that the host is going to end the lifeline, and whether it is the last that
// it needs the folder for.
func (l *lifeline) expect(last bool) { l.kept.Store(!last) }

// end ends the process and everything it started. It does not return.
func (l *lifeline) end(status int) { l.once.Do(func() { l.finish(status) }) }

// finish leaves nothing to the host, which may be killed at any moment, but the folder
// where that may go on without this process. It waits for nobody longer than CloseGrace:
// nothing else ends a plugin whose Close hangs and whose host is gone.
func (l *lifeline) finish(status int) {
	ctx, cancel := context.WithTimeout(context.Background(), wire.CloseGrace)
	defer cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = l.set.closeAll(ctx)
		l.set.settle()
	}()
	select {
	case <-closed:
	case <-ctx.Done():
	}
	if l.gone.Load() && !l.kept.Load() {
		sweep()
	}
	killGroup()
	os.Exit(status) //nolint:forbidigo,gocritic // this is the end of the program's main; the context dies with it
}

// sweep removes what the host would remove.
func sweep() {
	dir := os.Getenv(wire.EnvRunDir)
	if filepath.IsAbs(dir) && strings.HasPrefix(filepath.Base(dir), wire.RunDirPrefix) {
		_ = wire.RemoveRunDir(dir) // the next host finishes it
	}
}
