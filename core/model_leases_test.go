package core

import (
	"context"
	"errors"
)

// giveBack ends a lease in one of the ways there are.
func (m *model) giveBack() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.held) == 0 {
		return
	}
	i, way := m.rng.IntN(len(m.held)), m.rng.IntN(12)
	h := m.held[i]
	m.held = append(m.held[:i], m.held[i+1:]...)
	m.note("give back %d, way %d", h.a.n, way)
	if way == 2 {
		go m.detach(h)
		return
	}
	m.past = append(m.past, h.lease)
	go func() {
		h.a.leave(h.alone)
		switch way {
		case 0, 1:
			h.lease.Discard(errUseless)
		case 3: // and a copy, at the same time
			m.mu.Lock()
			m.stale++
			m.mu.Unlock()
			go h.lease.Release()
			h.lease.Release()
		case 4: // twice
			m.mu.Lock()
			m.stale++
			m.mu.Unlock()
			h.lease.Release()
			h.lease.Release()
		default:
			h.lease.Release()
		}
	}()
}

// detach takes the resource of h out of the pool, if nobody else is on it.
func (m *model) detach(h *holder) {
	others := h.a.word.Load()&assetUsers > 1
	a, err := h.lease.Detach()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil && a == h.a:
		h.a.leave(h.alone)
		_ = h.a.Close()
		m.past = append(m.past, h.lease)
	case errors.Is(err, ErrNotAlone) && m.v.share > 1:
		if m.burst == 1 && !others {
			m.v.fault("Detach of asset %d failed although nobody else is on it", h.a.n)
		}
		m.held = append(m.held, h)
	default:
		m.v.fault("Detach returned %v, %v", a, err)
	}
}

// useStale does all that can be done with a lease that has ended.
func (m *model) useStale() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.past) == 0 {
		return
	}
	i, way := m.rng.IntN(len(m.past)), m.rng.IntN(4)
	if m.burst > 1 {
		i = m.rng.IntN(max(len(m.past)-m.burst, 1)) // others may be ending the last ones right now
		if len(m.past) <= m.burst {
			return
		}
	}
	l := m.past[i]
	m.note("use a stale lease")
	if way < 3 {
		m.stale++
	}
	go func() {
		switch way {
		case 0:
			l.Release()
		case 1:
			l.Discard(nil)
		case 2:
			if _, err := l.Detach(); !errors.Is(err, ErrReleased) {
				m.v.fault("Detach of a stale lease returned %v", err)
			}
		default:
			if l.Value() != nil || l.ID() != 0 || l.ResourceAge() != 0 {
				m.v.fault("a stale lease still leads to resource %d", l.ID())
			}
		}
	}()
}

func (m *model) cancelOne() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.callers {
		m.note("cancel %+v", c.o)
		c.cancel()
		return
	}
}

func (m *model) resize() {
	top := 1 + m.rng.IntN(6)
	bottom := m.rng.IntN(min(top, 4) + 1)
	m.note("resize to %d, %d", bottom, top)
	m.mu.Lock()
	m.resized = true
	m.mu.Unlock()
	if m.burst > 1 {
		go m.p.Resize(context.Background(), bottom, top)
	} else if err := m.p.Resize(context.Background(), bottom, top); err != nil {
		m.v.fault("Resize: %v", err)
	}
}
