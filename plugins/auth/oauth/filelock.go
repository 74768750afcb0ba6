package oauth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// locker locks by the name of a file, across processes.
type locker func(path string) (release func(), ok bool, err error)

// wait takes the lock when it is free. It asks again and again, because no system
// can wait for a file's lock and for a context at once.
func (l locker) wait(ctx context.Context, path string) (release func(), err error) {
	for delay := time.Millisecond; ; delay = min(2*delay, 50*time.Millisecond) {
		release, ok, err := l(path)
		if err != nil {
			return nil, fmt.Errorf("oauth: locking the token file: %w", err)
		}
		if ok {
			return release, nil
		}
		if err := pause(ctx, delay); err != nil {
			return nil, fmt.Errorf("oauth: another process holds the lock of the token file (%s): %w", path, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// How an owner of a lock file shows that it lives, and how long it may be silent.
const (
	lockBeat  = 2 * time.Second
	lockStale = 20 * time.Second
)

// lockByExistence is the locker for systems without flock: whoever makes the file
// has the lock, and touches it for as long as that is so. A file that nobody
// touched for lockStale was left behind by a process that died.
func lockByExistence(path string) (func(), bool, error) {
	path += ".lock"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)                //nolint:gosec // the path is the caller's
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrPermission) && exists(path) { // Windows says the latter while the file is being removed
		return nil, false, removeStale(path)
	}
	if err != nil {
		return nil, false, err
	}
	_ = f.Close()
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(lockBeat)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				now := time.Now()
				_ = os.Chtimes(path, now, now) // if it fails long enough, the lock is lost; there is no one to tell
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		done.Wait()
		_ = os.Remove(path)
	}, true, nil
}

// removeStale removes a lock file that was left behind. Only one process at a time
// may do so, or a slow one would remove the lock that a quick one has just made;
// that one is chosen by a file too, which lives for a moment only.
func removeStale(path string) error {
	if !stale(path) {
		return nil
	}
	chosen := path + ".removing"
	f, err := os.OpenFile(chosen, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the path is the caller's
	if err != nil {
		if stale(chosen) { // its maker died in that moment
			_ = os.Remove(chosen)
		}
		return nil
	}
	_ = f.Close()
	defer func() { _ = os.Remove(chosen) }()
	if stale(path) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func stale(path string) bool {
	info, err := os.Stat(path)
	return err == nil && time.Since(info.ModTime()) > lockStale
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
