package core

import (
	"context"
	"fmt"
	"math"
	"time"
)

// opinion is what the last probe of an asset came to.
type opinion int

const (
	noOpinion opinion = iota
	fine
	doubtful // ErrDegraded
	hopeless // any failure, a probe that did not return in time among them
)

// opinions are what probes came to, and how often.
type opinions struct {
	of                       map[*asset]opinion
	doubted, shrugged, given uint64 // verdicts: degraded, unknown, all
	past                     []condemnation
	lies                     bool // every probe fails
}

// condemnation is how many resources probes had closed by then.
type condemnation struct {
	at     time.Time
	closed uint64
}

// probe is Config.Probe. Until it comes to something it has failed, because that is
// what it has if it hangs, panics or ends its goroutine.
func (m *model) probe(ctx context.Context, a *asset) error {
	m.mu.Lock()
	before := m.thinks.of[a]
	m.thinks.of[a] = hopeless
	m.thinks.given++
	m.mu.Unlock()
	err := m.look(ctx, "a probe", a)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil || ctx.Err() != nil {
		return err
	}
	if m.thinks.lies {
		return errPeer
	}
	switch m.fate.IntN(6) {
	case 0:
		m.thinks.of[a] = doubtful
		m.thinks.doubted++
		return ErrDegraded
	case 1:
		m.thinks.of[a] = doubtful
		m.thinks.doubted++
		return fmt.Errorf("it is slow: %w", ErrDegraded)
	case 2:
		m.thinks.of[a] = before
		m.thinks.shrugged++
		return fmt.Errorf("who knows: %w", ErrUnknown)
	}
	m.thinks.of[a] = fine
	return nil
}

// checkVerdicts looks whether the pool thinks of its resources what probes said, and
// closes no more of them than it may.
func (m *model) checkVerdicts() {
	m.t.Helper()
	s := m.p.Stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.p
	p.hub.lock()
	defer p.hub.unlock()
	weak, probing := 0, uint64(0)
	for i, slot := range p.slots() {
		w := slot.word.Load()
		if w&flagWeak != 0 {
			weak++
		}
		if w&flagLive != 0 && w&flagBusy != 0 {
			probing++ // or resetting: the verdict is not there yet
		}
		if w&(flagLive|flagBusy|flagRetiring) != flagLive {
			continue
		}
		what := m.thinks.of[slot.res.Load().value]
		if want := what == doubtful || what == hopeless; want != (w&flagWeak != 0) {
			m.bad("slot %d has word %#x, and its last verdict was %d", i, w, what)
		}
	}
	if weak != int(p.weak.Load()) || weak != s.Weak {
		m.bad("%d slots are weak, the pool counts %d, and says %d", weak, p.weak.Load(), s.Weak)
	}
	if s.ProbesDegraded > m.thinks.doubted || s.ProbesUnknown > m.thinks.shrugged ||
		s.ProbesDegraded+probing < m.thinks.doubted || s.ProbesUnknown+probing < m.thinks.shrugged {
		m.bad("%d verdicts were degraded and %d unknown, with %d under way: %+v", m.thinks.doubted, m.thinks.shrugged, probing, s)
	}
	if s.ClosedBy[ReasonProbe]+s.ProbesSpared > s.ProbeFailures {
		m.bad("%d resources were closed over probes and %d spared, of %d that failed", s.ClosedBy[ReasonProbe], s.ProbesSpared, s.ProbeFailures)
	}
	m.checkShare(s.ClosedBy[ReasonProbe])
}

// checkShare looks at how many resources probes have closed within an interval: at most
// a share of them, and as many again where one interval ends and the next begins. It
// can tell only where no probe comes before a lease, which is exempt.
// REQUIRES: m.mu.
func (m *model) checkShare(closed uint64) {
	m.t.Helper()
	if m.cfg.Probe == nil || m.cfg.ProbeAfterIdle != Off || m.cfg.ProbeInterval == Off {
		return
	}
	share := m.cfg.MaxCondemnedShare
	if share == 0 {
		share = 0.5
	}
	may := 2 * max(1, uint64(math.Ceil(share*float64(max(m.cfg.Max, 6)))))
	now := time.Now()
	for len(m.thinks.past) > 0 && now.Sub(m.thinks.past[0].at) >= m.cfg.ProbeInterval {
		m.thinks.past = m.thinks.past[1:]
	}
	m.thinks.past = append(m.thinks.past, condemnation{now, closed})
	if n := closed - m.thinks.past[0].closed; n > may {
		m.bad("probes closed %d resources within %v, where %d may be", n, now.Sub(m.thinks.past[0].at), may)
	}
}

// better tells whether there is a slot that a caller has to be given before any that
// is weak: it can where nobody else is calling.
func (m *model) better(o AcquireOptions) bool {
	if m.burst > 1 || o.Key != "" {
		return false
	}
	for _, s := range m.p.slots() {
		w := s.word.Load()
		if n := leasesOf(w); w&flagMask == flagLive && (n == 0 || !o.Exclusive && n < m.v.share) {
			return true
		}
	}
	return false
}
