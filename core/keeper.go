package core

import (
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// upkeep is what the keeper knows of a slot. Nobody else reads a clock for it: a
// slot whose count of leases did not move from one sweep to the next was idle, or
// held, all that time.
type upkeep struct {
	count  uint64 // of the slot's word at the last sweep
	leased bool
	since  int64 // of the sweep that first saw it so
	probed int64 // when its last probe began, or it was opened
	seats  []tenure
}

// tenure is one lease as the keeper saw it.
type tenure struct {
	token    uint64
	since    int64
	reported bool
}

// ring is the keeper: it runs when the alarm goes off, looks at every pool, and
// sets the next alarm.
func (h *hub[T]) ring() {
	defer h.jobs.Done()
	h.lock()
	defer h.unlock()
	h.armed = false
	if h.closed {
		return
	}
	now := h.now()
	for _, p := range h.pools {
		h.alarmLocked(p.tickLocked(now))
	}
	if h.tend != nil {
		h.alarmLocked(h.tend(now))
	}
}

// tickLocked does what is due and returns when to come again.
// REQUIRES: the lock.
func (p *Pool[T]) tickLocked(now int64) int64 {
	next := int64(math.MaxInt64)
	if p.cfg.AcquireTimeout != never {
		for _, l := range []*line[T]{&p.queue, &p.side} {
			p.expireLocked(l, now)
			if l.head != nil {
				next = min(next, l.head.since+int64(p.cfg.AcquireTimeout))
			}
		}
	}
	if p.sweepEvery != never {
		if now >= p.nextSweep {
			p.nextSweep = now + int64(p.sweepEvery)
			p.sweepLocked(now)
		}
		next = min(next, p.nextSweep)
	}
	p.hub.demandLocked(p)
	return next
}

// sweepInterval is a quarter of the shortest time the keeper has to tell, and at
// most ten seconds.
func (c *Config[T]) sweepInterval() time.Duration {
	every := min(c.ProbeInterval, c.ProbeAfterIdle, c.MaxIdleTime, c.LeakAfter)
	if c.MaxLifetime != never {
		every = min(every, c.MaxLifetime)
		if c.RecycleWindow > 0 {
			every = min(every, c.RecycleWindow)
		}
	}
	if every == never {
		return never
	}
	return min(max(every/4, time.Millisecond), 10*time.Second)
}

// sweepLocked looks at every slot once, the last first, so that what is beyond
// need goes from the end. REQUIRES: the lock.
func (p *Pool[T]) sweepLocked(now int64) {
	if !p.replacing {
		p.replace = nil // there was no room for the replacement; think again
	}
	p.glanceLocked(now)
	for _, s := range slices.Backward(p.slots()) {
		w := s.word.Load()
		if w&flagLive == 0 {
			continue
		}
		if p.cfg.LeakAfter != never {
			p.leakLocked(s, now)
		}
		if w&flagRetiring != 0 {
			continue
		}
		r := s.res.Load()
		idle := p.observeLocked(s, w, now)
		if r.left(now) <= 0 {
			p.retireLocked(s, ReasonExpired, nil)
			continue
		}
		if idle >= p.cfg.MaxIdleTime && p.usableLocked() > p.min && p.retireIdleLocked(s, ReasonIdle) {
			continue
		}
		if r.probes && w&flagBusy == 0 && w&leaseMask == 0 {
			if min(idle, time.Duration(now-s.keep.probed)) >= p.cfg.ProbeAfterIdle {
				s.word.CompareAndSwap(w, w|flagStale)
			}
		}
	}
	p.renewLocked(now)
	p.patrolLocked(now)
	p.trimTableLocked()
}

// observeLocked brings the upkeep of s, whose word is w, up to date, and returns
// how long it has been idle for certain. REQUIRES: the lock.
func (p *Pool[T]) observeLocked(s *slot[T], w uint64, now int64) (idle time.Duration) {
	k := &s.keep
	if count, leased := w>>countShift, w&leaseMask != 0; count != k.count || leased != k.leased {
		k.count, k.leased, k.since = count, leased, now
	}
	if k.leased {
		return 0
	}
	return time.Duration(now - k.since)
}

// leakLocked reports, once each, the leases on s held longer than LeakAfter.
// REQUIRES: the lock.
func (p *Pool[T]) leakLocked(s *slot[T], now int64) {
	seen := s.keep.seats
	s.keep.seats = nil
	s.tokens(func(token uint64) {
		t := tenure{token: token, since: now}
		for _, old := range seen {
			if old.token == token {
				t = old
			}
		}
		if held := time.Duration(now - t.since); held >= p.cfg.LeakAfter && !t.reported {
			t.reported = true
			p.tally.leaks.Add(1)
			if hook := p.cfg.Hooks.Leaked; hook != nil {
				e := Leaked{Pool: p.cfg.Name, ID: s.res.Load().id, Held: held, Stack: s.stackOf(token)}
				p.emitLocked("Leaked", func() { hook(e) })
			}
		}
		s.keep.seats = append(s.keep.seats, t)
	})
}

// left returns how much of its lifetime r has before it.
func (r *resource[T]) left(now int64) time.Duration {
	if r.lifetime == never {
		return never
	}
	return r.lifetime - time.Duration(now-r.openedAt)
}

// renewLocked begins to replace the resource whose time is up next, if its window
// has come: one at a time, so that none is missed while the others wait their
// turn, and the new one first where there is room for it. The end of each begins
// the next, for many may have their window at once. REQUIRES: the lock.
func (p *Pool[T]) renewLocked(now int64) {
	if p.cfg.RecycleWindow == 0 || p.cfg.MaxLifetime == never || p.closed || p.replace != nil || p.replacing {
		return
	}
	var s *slot[T]
	for _, other := range p.slots() {
		if other.word.Load()&(flagLive|flagRetiring) != flagLive {
			continue
		}
		r := other.res.Load()
		if left := r.left(now); left <= min(p.cfg.RecycleWindow, r.lifetime/2) && (s == nil || left < s.res.Load().left(now)) {
			s = other
		}
	}
	if s == nil {
		return
	}
	surplus := p.usableLocked() > p.min && now-s.keep.since >= int64(p.sweepEvery) && !s.keep.leased
	switch {
	case surplus:
		p.retireLocked(s, ReasonExpired, nil)
	case p.roomLocked() > 0 && p.hub.places < p.hub.maxPlaces:
		p.replace, p.replaceID = s, s.res.Load().id
	case p.opening == 0 && p.closing == 0 && p.retiring == 0:
		p.retireLocked(s, ReasonExpired, nil)
	}
}

// retireIdleLocked retires s unless somebody has just leased it.
// REQUIRES: the lock.
func (p *Pool[T]) retireIdleLocked(s *slot[T], reason CloseReason) bool {
	w := s.word.Load()
	if w&(flagRetiring|flagBusy|flagWatched|leaseMask) != 0 || w&flagLive == 0 ||
		!s.word.CompareAndSwap(w, w|flagRetiring) {
		return false
	}
	s.reason = reason
	p.retiring++
	p.buryLocked(s)
	return true
}

// stackOf returns the stack of the Acquire behind a lease, if it was kept.
func (s *slot[T]) stackOf(token uint64) string {
	pcs := s.seats.at(token & (1<<seatBits - 1)).stack.Load()
	if pcs == nil {
		return ""
	}
	var b strings.Builder
	frames := runtime.CallersFrames(*pcs)
	for {
		f, more := frames.Next()
		b.WriteString(f.Function + "\n\t" + f.File + ":" + strconv.Itoa(f.Line) + "\n")
		if !more {
			return b.String()
		}
	}
}
