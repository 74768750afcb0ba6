package mcpool

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// list is one list of an identity, as the server last gave it. Fetches run on
// goroutines of the pool, so that no caller's patience decides for the others, and one
// after the other, so that a server whose lists keep changing is asked no more often
// than it answers. An invalidation during a fetch wins: what was fetched is given to
// those who asked before it, and never from memory. Those who ask after it get what
// the next fetch brings, whatever happens during that one, so nobody waits for a
// server to come to rest.
type list[T any] struct {
	// Immutable after init.
	id    *identity
	fetch func(ctx context.Context) ([]T, error)
	// changed is told of every list before those who wait for it; nil for nobody.
	changed func(now []T, began uint64)

	mu          sync.Mutex
	items       []T       // guarded by mu; as last fetched
	itemsFrom   uint64    // guarded by mu; when their fetch began
	valid       bool      // guarded by mu; not invalidated since
	expires     time.Time // guarded by mu
	clock       uint64    // guarded by mu; one more with each fetch that begins and each invalidation
	invalidated uint64    // guarded by mu; when it last was
	following   bool      // guarded by mu; follow runs
	// Guarded by mu. The fetch that began last, and the one that is going to begin
	// after it.
	running, queued *fetching[T]
}

// fetching is a fetch that is queued or under way.
type fetching[T any] struct {
	began uint64 // guarded by the list's mu; on its clock, 0 before
	done  chan struct{}
	items []T // readable after done
	err   error
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
// running, if the list was not invalidated since it began, else the next. It returns
// nil if the pool is closed. REQUIRES: l.mu.
func (l *list[T]) startLocked() *fetching[T] {
	switch {
	case l.running != nil && l.running.began > l.invalidated:
		return l.running
	case l.queued != nil:
		return l.queued
	}
	f, before := &fetching[T]{done: make(chan struct{})}, l.running
	if !l.id.pool.start(func() { l.run(f, before) }) {
		return nil
	}
	if before == nil {
		l.beginLocked(f)
	} else {
		l.queued = f
	}
	return f
}

// beginLocked notes that a fetch begins. REQUIRES: l.mu.
func (l *list[T]) beginLocked(f *fetching[T]) {
	l.clock++
	f.began = l.clock
	l.running = f
}

// run fetches, once the fetch before has ended, and puts the list in place.
func (l *list[T]) run(f, before *fetching[T]) {
	p := l.id.pool
	if before != nil {
		timer := time.NewTimer(listPatience)
		select {
		case <-before.done:
		case <-timer.C: // it may hang on a session that is dead
		case <-p.ctx.Done():
		}
		timer.Stop()
		l.mu.Lock()
		l.queued = nil
		l.beginLocked(f)
		l.mu.Unlock()
	}
	p.counts.listFetches.Add(1)
	f.items, f.err = l.fetch(p.ctx)
	if f.err != nil && p.ctx.Err() != nil {
		f.err = ErrClosed
	}
	l.mu.Lock()
	if f.err == nil {
		l.storeLocked(f.items, f.began)
	}
	if l.running == f {
		l.running = nil
	}
	l.mu.Unlock()
	if f.err == nil && l.changed != nil {
		l.changed(f.items, f.began)
	}
	close(f.done)
}

// listPatience is how long a fetch waits for the one before it to end.
const listPatience = 5 * time.Second

// storeLocked puts a list in place, unless there is a younger one. One that was
// invalidated since its fetch began still is what the server last said, which is
// better than nothing where nobody asks for more. REQUIRES: l.mu.
func (l *list[T]) storeLocked(items []T, began uint64) {
	if began < l.itemsFrom {
		return
	}
	l.items, l.itemsFrom = items, began
	if began < l.invalidated {
		return
	}
	l.valid = true
	ttl := l.id.pool.cfg.ToolsTTL
	if ttl == never {
		ttl = 100 * 365 * 24 * time.Hour
	}
	l.expires = time.Now().Add(ttl)
}

// mark returns what put has to know of the time before a fetch.
func (l *list[T]) mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	return l.clock
}

// put puts a list in place that somebody else fetched.
func (l *list[T]) put(items []T, began uint64) {
	l.mu.Lock()
	l.storeLocked(items, began)
	l.mu.Unlock()
	if l.changed != nil {
		l.changed(items, began)
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
	l.clock++
	l.invalidated = l.clock
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
