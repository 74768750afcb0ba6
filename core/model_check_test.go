package core

import (
	"slices"
	"time"
)

// check looks at the pool while nothing moves. The numbers are those of the
// invariants in the architecture page.
func (m *model) check() {
	m.t.Helper()
	m.checkLimits()
	m.checkWaiters()
	m.checkDemand()
	m.checkStats()
	m.checkVerdicts()
	m.report()
}

// report says what went wrong, and what was done last, once.
func (m *model) report() {
	m.t.Helper()
	m.v.blame(m.t)
	if m.t.Failed() {
		for _, line := range m.log {
			m.t.Log(line)
		}
		m.log = nil
		m.p.hub.lock()
		defer m.p.hub.unlock()
		for i, s := range m.p.slots() {
			m.t.Logf("slot %d: word %#x, %d wait for it", i, s.word.Load(), len(s.own))
		}
		for _, l := range []*line[*asset]{&m.p.queue, &m.p.side} {
			for w := l.head; w != nil; w = w.next {
				m.t.Logf("waiter %d: wants %d, pinned to %d, slot %d", w.seq, w.want, w.pinned, slices.Index(m.p.slots(), w.slot))
			}
		}
	}
}

func (m *model) bad(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf(format, args...)
}

// checkLimits looks at 1 and 4, and at the ledger: the pool's own numbers must
// be those of its slots, of puddle, and of the holders.
func (m *model) checkLimits() {
	m.t.Helper()
	p := m.p
	m.mu.Lock()
	holders := len(m.held) + m.doing
	on := make(map[*slot[*asset]][]*holder)
	for _, h := range m.held {
		on[h.lease.slot] = append(on[h.lease.slot], h)
		if h.lease.Value() != h.a && time.Now().UnixNano() < m.v.lapse.Load() {
			m.bad("a lease on asset %d leads to %v while it is held", h.a.n, h.lease.Value())
		}
	}
	resized := m.resized
	m.resized = false
	m.mu.Unlock()

	p.hub.lock()
	defer p.hub.unlock()
	live, retiring, leases := 0, 0, 0
	served := make(map[uint64]uint64)
	for _, s := range p.slots() {
		w := s.word.Load()
		n := leasesOf(w)
		leases += n
		if w&flagLive == 0 {
			if w&(flagMask|leaseMask) != 0 || len(s.own) > 0 {
				m.bad("an empty slot has word %#x and %d who wait for it", w, len(s.own))
			}
			continue
		}
		live++
		seated := 0
		s.tokens(func(uint64) { seated++ })
		switch {
		case n > p.share:
			m.bad("invariant 1: a slot with %d seats carries %d leases", p.share, n)
		case w&flagAlone != 0 && n != 1:
			m.bad("invariant 1: %d leases on a slot with an exclusive one", n)
		case seated != n:
			m.bad("%d seats of a slot are taken, its word counts %d leases", seated, n)
		case w&flagBusy != 0 && n > 0:
			m.bad("invariant 4: a slot with %d leases is out for a probe or a reset", n)
		case w&flagStale != 0 && n > 0:
			m.bad("a slot that was to be probed first carries %d leases", n)
		}
		for _, h := range on[s] {
			if h.alone && n != 1 {
				m.bad("invariant 1: an exclusive lease is one of %d", n)
			}
		}
		if w&flagRetiring == 0 {
			continue
		}
		retiring++
		if n == 0 && w&flagBusy == 0 {
			m.bad("a retiring slot without a lease was not closed")
		}
		id, count := s.res.Load().id, w>>countShift-s.base
		if before, ok := m.served[id]; ok && !resized && count != before {
			m.bad("invariant 4: resource %d took %d new leases while retiring", id, count-before)
		}
		served[id] = count
	}
	m.served = served

	sum := p.live + p.opening + p.closing
	limit := max(p.max, m.over)
	if resized {
		limit = max(limit, m.cfg.Max, 6)
	}
	if sum > limit {
		m.bad("invariant 1: %d live, %d opening and %d closing, where %d may be", p.live, p.opening, p.closing, limit)
	}
	m.over = sum
	if p.live-p.retiring > p.max {
		m.bad("invariant 1: %d resources are to stay, where %d may be", p.live-p.retiring, p.max)
	}
	ledger := p.hub.ledger.Stat()
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"live resources and full slots", p.live, live},
		{"retiring resources and slots", p.retiring, retiring},
		{"leases and holders", leases, holders},
		{"places of the hub and of the pool", p.hub.places, sum},
		{"opens and those of puddle", p.opening, int(ledger.ConstructingResources())},
		{"resources and those of puddle", p.live + p.closing, int(ledger.AcquiredResources())},
		{"idle resources in puddle and none", int(ledger.IdleResources()), 0},
		{"opens of the hub and of the pool", p.hub.opening, p.opening},
		{"closes of the hub and of the pool", p.hub.closing, p.closing},
		{"abandoned callbacks", p.hub.strays, p.strayOpens + p.strayCloses + p.strayOthers},
	} {
		if c.got != c.want {
			m.bad("%s do not agree: %d, %d", c.what, c.got, c.want)
		}
	}
	if p.opening > m.cfg.MaxOpening {
		m.bad("%d opens run, where %d may", p.opening, m.cfg.MaxOpening)
	}
}

// checkWaiters looks at the first half of 2, and at 3: nobody waits for what
// is there, and who waits is known to.
func (m *model) checkWaiters() {
	m.t.Helper()
	p := m.p
	m.mu.Lock()
	callers := len(m.callers)
	for c := range m.callers {
		if c.ctx.Err() != nil {
			m.bad("a caller whose context has ended still waits")
		}
		if c.o.NoWait {
			m.bad("a caller that would not wait is waiting")
		}
		if d := time.Since(c.began); m.cfg.AcquireTimeout > 0 && d > m.cfg.AcquireTimeout {
			m.bad("a caller waits for %v, past AcquireTimeout", d)
		}
	}
	m.mu.Unlock()

	p.hub.lock()
	defer p.hub.unlock()
	if n := p.queue.len + p.side.len; n != callers {
		m.bad("%d callers wait, and %d stand in line", callers, n)
	}
	if n := int(p.queued.Load()); n != p.queue.len || p.waiting.Load() != (n > 0) {
		m.bad("%d stand in the queue, and releases see %d", p.queue.len, n)
	}
	claims := 0
	for w := p.side.head; w != nil; w = w.next {
		switch {
		case w.claims():
			claims++
			if w.slot != nil && !slices.Contains(w.slot.own, w) {
				m.bad("a claim has reserved a slot that does not know it")
			}
		case w.slot == nil || w.slot.res.Load().id != w.pinned || w.slot.word.Load()&(flagLive|flagRetiring) != flagLive:
			m.bad("invariant 2: a pin waits for resource %d, which is gone", w.pinned)
		case !slices.Contains(w.slot.own, w):
			m.bad("a pin waits for a slot that does not know it")
		}
		if w.next != nil && w.next.seq <= w.seq {
			m.bad("the side line is out of order")
		}
	}
	if n := int(p.claims.Load()); n != claims {
		m.bad("%d claims stand in line, and releases see %d", claims, n)
	}
	busy := 0
	for _, s := range p.slots() {
		if s.word.Load()&flagBusy != 0 {
			busy++
		}
	}
	for i, s := range p.slots() {
		w := s.word.Load()
		free := w&flagLive != 0 && w&(flagRetiring|flagBusy|flagAlone) == 0 && leasesOf(w) < p.share
		if w&flagStale != 0 && (p.queue.len+p.share-1)/p.share+claims <= busy {
			continue // as many are on their way as the waiters need
		}
		empty := free && leasesOf(w) == 0
		if (w&flagWatched != 0) != (len(s.own) > 0) {
			m.bad("%d wait for a slot with word %#x", len(s.own), w)
		}
		reservable := w&(flagLive|flagRetiring|flagBusy|flagWatched) == flagLive
		var first *waiter[*asset]
		if len(s.own) > 0 {
			first = s.own[0]
		}
		for c := p.side.head; c != nil; c = c.next {
			switch {
			case !c.claims():
			case empty:
				m.bad("invariant 2: an exclusive claim waits while a slot is empty, word %#x", w)
			case reservable && c.slot == nil:
				m.bad("an exclusive claim has nothing reserved while a slot could be, word %#x", w)
			}
		}
		switch {
		case free && first == nil && p.queue.len > 0:
			m.bad("invariant 2: %d wait while a slot has a free seat, word %#x", p.queue.len, w)
		case free && first != nil && p.queue.len > 0 && p.queue.head.seq < first.seq:
			m.bad("invariant 2: the oldest waits while a slot has a free seat, word %#x", w)
		case free && first != nil && (first.want != wantAlone || empty):
			m.bad("invariant 2: a pin waits while its slot has a seat for it, word %#x", w)
		}
		if s.row.full.Load() && w&(flagMask|leaseMask) == flagLive {
			m.bad("slot %d is free, and its row is marked full", i)
		}
	}
}

// checkDemand looks at the other half of 2: where somebody waits and there is
// room, an open runs or is scheduled.
func (m *model) checkDemand() {
	m.t.Helper()
	p, h := m.p, m.p.hub
	h.lock()
	defer h.unlock()
	if p.closed || p.max-p.live-p.opening-p.closing <= 0 || p.strayOpens+p.strayCloses >= p.max ||
		h.opening >= m.cfg.MaxOpening {
		return
	}
	claims, usable := int(p.claims.Load()), p.live-p.retiring
	due := func(at int64) bool { return h.armed && h.alarmAt <= at }
	if p.degraded.Load() {
		if p.oneOffs < p.queue.len+claims {
			m.bad("invariant 2: degraded, %d wait, there is room, and %d one-off opens run", p.queue.len+claims, p.oneOffs)
		}
		claims = 0
	}
	want := p.min - usable
	waiting := 0
	if !p.degraded.Load() {
		waiting = (p.queue.len+p.share-1)/p.share + claims
		want = max(want, waiting)
	}
	c := p.openCircuitLocked()
	switch {
	case p.opening-p.oneOffs >= want:
	case p.retryAt > h.now() && (usable > 0 || waiting == 0) && due(p.retryAt):
	case c != nil && (c.trial || c.next > h.now() && due(c.next)):
	default:
		m.bad("invariant 2: %d opens are wanted, %d run, and there is room for more; circuit %v", want, p.opening, c)
	}
	if c != nil && c.trial && p.opening == 0 {
		m.bad("invariant 3: the circuit waits for a trial that does not run")
	}
}
