package core

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing/synctest"
	"time"
)

// run makes about that many random calls, closes the pool, and sees that nothing
// is left of it.
func (m *model) run(steps int) {
	if m.cfg.Max > rowSize {
		for range rowSize {
			m.acquire(AcquireOptions{}, 0)
		}
	}
	for steps > 0 && !m.t.Failed() {
		n := 1
		if m.rng.IntN(2) == 0 {
			n = 2 + m.rng.IntN(4)
		}
		m.burst = n
		for range n {
			m.step()
		}
		steps -= n
		synctest.Wait()
		m.check()
	}
	m.finish()
}

// step makes one random call.
func (m *model) step() {
	switch n := m.rng.IntN(100); {
	case n < 30:
		m.acquire(m.drawOptions(), m.drawPatience())
	case n < 35:
		m.tryAcquire()
	case n < 41:
		m.do()
	case n < 64:
		m.giveBack()
	case n < 67:
		m.useStale()
	case n < 73:
		m.cancelOne()
	case n < 75:
		m.resize()
	case n < 76:
		m.note("evict")
		go m.p.Evict()
	case n < 78:
		go m.readStats()
	case n < 80:
		m.mu.Lock()
		m.foul = m.rng.IntN(3) == 0
		m.mu.Unlock()
	default:
		m.pass()
	}
}

// pass lets time pass, with everything that was begun before still under way.
func (m *model) pass() {
	d := time.Duration(m.rng.Int64N(int64([]time.Duration{
		time.Millisecond, 100 * time.Millisecond, time.Second, time.Second, 10 * time.Second,
	}[m.rng.IntN(5)])))
	m.note("%v pass", d)
	time.Sleep(d)
}

func (m *model) drawOptions() AcquireOptions {
	o := AcquireOptions{Exclusive: m.rng.IntN(5) == 0, NoWait: m.rng.IntN(8) == 0}
	if m.rng.IntN(3) == 0 {
		o.Key = string(rune('a' + m.rng.IntN(3)))
		o.Affinity = Affinity(m.rng.IntN(3))
	}
	return o
}

// drawPatience returns how long a caller waits: not at all, so long, or for ever.
func (m *model) drawPatience() time.Duration {
	switch m.rng.IntN(4) {
	case 0:
		return time.Duration(m.rng.Int64N(int64(2 * time.Second)))
	case 1:
		if m.rng.IntN(4) == 0 {
			return -1
		}
	}
	return 0
}

// newCaller makes a caller with a context: patience 0 is for ever, and a negative
// one has ended before it begins.
func (m *model) newCaller(o AcquireOptions, patience time.Duration) *caller {
	c := &caller{o: o, began: time.Now(), dead: patience < 0}
	if patience > 0 {
		c.ctx, c.cancel = context.WithTimeout(context.Background(), patience)
	} else {
		c.ctx, c.cancel = context.WithCancel(context.Background())
		if c.dead {
			c.cancel()
		}
	}
	var alive uint64
	if o.Affinity == Pin && o.Key != "" && m.burst == 1 {
		for _, info := range m.p.Snapshot() {
			for _, key := range info.Keys {
				if key == o.Key && info.State != StateRetiring {
					alive = info.ID
				}
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c.expect, c.bound, c.better = alive, m.bound[o.Key], m.better(o)
	m.callers[c] = true
	return c
}

// acquire starts a call of AcquireWith.
func (m *model) acquire(o AcquireOptions, patience time.Duration) {
	c := m.newCaller(o, patience)
	m.note("acquire %+v, patience %v", o, patience)
	go func() {
		defer c.cancel()
		var l Lease[*asset]
		var err error
		if o == (AcquireOptions{}) {
			l, err = m.p.Acquire(c.ctx)
		} else {
			l, err = m.p.AcquireWith(c.ctx, o)
		}
		m.returned(c, l, err)
	}()
}

func (m *model) tryAcquire() {
	c := m.newCaller(AcquireOptions{NoWait: true}, 0)
	m.note("try acquire")
	go func() {
		defer c.cancel()
		l, ok := m.p.TryAcquire(c.ctx)
		var err error
		if !ok {
			err = ErrExhausted
		}
		m.returned(c, l, err)
	}()
}

// returned notes what a caller got.
func (m *model) returned(c *caller, l Lease[*asset], err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.callers, c)
	if err != nil {
		m.refused(c, l, err)
		return
	}
	if c.dead {
		m.v.fault("a context that had ended before yielded a lease")
	}
	h := &holder{lease: l, a: l.Value(), alone: c.o.Exclusive || m.v.share == 1}
	if c.better && l.slot.word.Load()&flagWeak != 0 {
		m.v.fault("%+v got a weak resource while a better one was free", c.o)
	}
	if h.a == nil {
		m.v.fault("a new lease has no value")
		return
	}
	h.a.enter(h.alone)
	if c.o.Key != "" {
		if c.expect != 0 && c.expect != l.ID() && m.bound[c.o.Key] == c.bound {
			m.v.fault("key %s was pinned to resource %d and got %d", c.o.Key, c.expect, l.ID())
		}
		m.bound[c.o.Key]++
	}
	m.held = append(m.held, h)
}

// refused checks that there was a reason for an error. REQUIRES: m.mu.
func (m *model) refused(c *caller, l Lease[*asset], err error) {
	var lost *PinLostError
	var open *OpenError
	var ok bool
	switch {
	case l != Lease[*asset]{}:
		m.v.fault("an error came with a lease: %v", err)
		return
	case errors.Is(err, ErrClosed):
		ok = m.ended
	case errors.As(err, &lost):
		ok = c.o.Key == lost.Key && c.o.Key != "" && c.o.Affinity == Pin
	case errors.Is(err, ErrExhausted):
		timeout := m.cfg.AcquireTimeout > 0 && time.Since(c.began) >= m.cfg.AcquireTimeout
		ok = c.o.NoWait || timeout || c.ctx.Err() != nil && errors.Is(err, c.ctx.Err())
	case errors.Is(err, ErrCircuitOpen), errors.As(err, &open):
		ok = m.failed
	default: // it had ended when the call began
		ok = c.ctx.Err() != nil && errors.Is(err, c.ctx.Err())
	}
	if !ok {
		m.v.fault("%+v, waiting since %v, was refused without reason: %v", c.o, c.began.Sub(m.start()), err)
	}
}

// do starts a call of Do, with a function that ends in one of the ways there are.
func (m *model) do() {
	c := m.newCaller(AcquireOptions{}, m.drawPatience())
	way, d := m.rng.IntN(6), time.Duration(m.rng.Int64N(int64(time.Second)))
	m.note("do, way %d after %v", way, d)
	work := func(_ context.Context, a *asset) error {
		alone := m.v.share == 1
		m.mu.Lock()
		delete(m.callers, c)
		m.doing++
		m.mu.Unlock()
		a.enter(alone)
		defer func() {
			a.leave(alone)
			m.mu.Lock()
			m.doing--
			m.mu.Unlock()
		}()
		time.Sleep(d)
		switch way {
		case 0:
			return errUseless
		case 1:
			return fmt.Errorf("harmless: %w", errPeer)
		case 2:
			panic("the function given to Do panics")
		case 3:
			runtime.Goexit()
		}
		return nil
	}
	go func() {
		defer c.cancel()
		defer func() { _ = recover() }()
		err := m.p.Do(c.ctx, work)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.callers[c] { // work never ran
			delete(m.callers, c)
			m.refused(c, Lease[*asset]{}, err)
		}
	}()
}
