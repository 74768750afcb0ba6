package mcpool

import "time"

// follow fetches the list after an invalidation, though nobody asks for it: at once,
// and as long as there are more, once for each rest. So however often a server says
// that a list has changed, it is asked at a pace that it can bear, and what it comes to
// rest with is fetched in any case.
func (l *list[T]) follow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.following {
		l.following = l.id.pool.start(l.keepUp)
	}
}

// The pauses between fetches. A fetch that fails is repeated with ever longer ones,
// for about a minute; then somebody has to ask, or the server to say again that the
// list has changed.
const (
	followRest    = time.Second
	maxFollowRest = 30 * time.Second
)

// keepUp fetches the list until nothing has been said since the last fetch began.
func (l *list[T]) keepUp() {
	rest := followRest
	for f := l.behind(nil, false); f != nil; {
		<-f.done // if not before, when the pool is closed
		enough := f.err == nil || isPermanent(f.err) || isRefusal(f.err) || rest >= maxFollowRest
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-l.id.pool.ctx.Done():
			timer.Stop()
		}
		if f.err == nil {
			rest = followRest
		} else {
			rest = min(2*rest, maxFollowRest)
		}
		f = l.behind(f, enough)
	}
}

// behind returns the fetch that brings the list up to date, or nil if there is
// nothing to fetch, or nothing new and enough was tried.
func (l *list[T]) behind(last *fetching[T], enough bool) *fetching[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	var f *fetching[T]
	if !l.valid && !(enough && last.began > l.invalidated) {
		f = l.startLocked()
	}
	l.following = f != nil
	return f
}
