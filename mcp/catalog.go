package mcpool

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// list is one list of an identity, as the server last gave it. At most one fetch
// runs at a time, on a goroutine of the pool, so that no caller's patience decides
// for the others. An invalidation during a fetch wins: what was fetched is given to
// those who asked before it, and to nobody after.
type list[T any] struct {
	// Immutable after init.
	id    *identity
	fetch func(ctx context.Context) ([]T, error)
	// changed is told of every fetch before those who wait for it; nil for nobody.
	changed func(now []T, current bool) (tell func())

	mu         sync.Mutex
	items      []T       // guarded by mu; as last fetched
	itemsFrom  uint64    // guarded by mu; the generation when their fetch began
	valid      bool      // guarded by mu; not invalidated since
	expires    time.Time // guarded by mu
	generation uint64    // guarded by mu; of invalidations
	running    *fetching[T]
}

// fetching is a fetch under way.
type fetching[T any] struct {
	generation uint64 // of the list when it began
	done       chan struct{}
	items      []T // readable after done
	err        error
}

// get returns a copy of the list, fetching it if need be.
func (l *list[T]) get(ctx context.Context) ([]T, error) {
	items, err := l.share(ctx)
	return slices.Clone(items), err
}

// share is get without the copy: nobody may write to what it returns.
func (l *list[T]) share(ctx context.Context) ([]T, error) {
	if ctx == nil {
		return nil, core.ErrNilContext
	}
	p := l.id.pool
	l.mu.Lock()
	if l.valid && (time.Now().Before(l.expires) || p.cfg.StaleLists) {
		items := l.items
		if !time.Now().Before(l.expires) {
			l.startLocked()
		}
		l.mu.Unlock()
		p.counts.listHits.Add(1)
		return items, nil
	}
	p.counts.listMisses.Add(1)
	if l.running != nil {
		p.counts.listWaiters.Add(1)
	}
	f := l.startLocked()
	l.mu.Unlock()
	if f == nil {
		return nil, ErrClosed
	}
	select {
	case <-f.done:
		return f.items, f.err
	case <-ctx.Done():
		return nil, contextError(ctx)
	}
}

// startLocked returns the fetch that serves a caller who asks now: the one that is
// running, if the list was not invalidated since it began, else a new one. It
// returns nil if the pool is closed. REQUIRES: l.mu.
func (l *list[T]) startLocked() *fetching[T] {
	if l.running != nil && l.running.generation == l.generation {
		return l.running
	}
	f := &fetching[T]{generation: l.generation, done: make(chan struct{})}
	if !l.id.pool.start(func() { l.run(f) }) {
		return nil
	}
	l.running = f
	return f
}

// run fetches and puts the list in place.
func (l *list[T]) run(f *fetching[T]) {
	p := l.id.pool
	p.counts.listFetches.Add(1)
	f.items, f.err = l.fetch(p.ctx)
	if f.err != nil && p.ctx.Err() != nil {
		f.err = ErrClosed
	}
	l.mu.Lock()
	stored := f.err == nil && l.storeLocked(f.items, f.generation)
	if l.running == f {
		l.running = nil
	}
	l.mu.Unlock()
	tell := func() {}
	if f.err == nil && l.changed != nil {
		tell = l.changed(f.items, stored)
	}
	close(f.done)
	tell()
}

// storeLocked puts a list in place, unless there is a younger one, and returns true
// if it was not invalidated since its fetch began. If it was, it still is what the
// server last said, which is better than nothing where nobody asks for more.
// REQUIRES: l.mu.
func (l *list[T]) storeLocked(items []T, generation uint64) bool {
	if generation < l.itemsFrom {
		return false
	}
	l.items, l.itemsFrom = items, generation
	if generation != l.generation {
		return false
	}
	l.valid = true
	ttl := l.id.pool.cfg.ToolsTTL
	if ttl == never {
		ttl = 100 * 365 * 24 * time.Hour
	}
	l.expires = time.Now().Add(ttl)
	return true
}

// mark returns what put has to know of the time before a fetch.
func (l *list[T]) mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation
}

// put puts a list in place that somebody else fetched.
func (l *list[T]) put(items []T, generation uint64) {
	l.mu.Lock()
	stored := l.storeLocked(items, generation)
	l.mu.Unlock()
	if stored && l.changed != nil {
		l.changed(items, true)()
	}
}

// last returns the list as the server last gave it, invalidated or not.
func (l *list[T]) last() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.items
}

// current returns the list if it may be used without asking.
func (l *list[T]) current() ([]T, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.items, l.valid && time.Now().Before(l.expires)
}

// invalidate has the next caller fetch anew.
func (l *list[T]) invalidate() {
	l.mu.Lock()
	l.valid = false
	l.generation++
	l.mu.Unlock()
}

// peek returns the list if there is one that was not invalidated, however old.
func (l *list[T]) peek() ([]T, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.items, l.valid
}

// start runs f on a goroutine that Close waits for, or returns false if the pool
// is closed.
func (p *Pool) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.background.Go(f)
	return true
}

// startCallback runs f, which is or calls the user's, on a goroutine that Close
// waits for a while, or returns false if the pool is closed.
func (p *Pool) startCallback(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.callbacks.Go(f)
	return true
}
