package core

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"time"
)

// job is one open: an attempt and its retries. It runs inside puddle's
// constructor, so that puddle counts it as constructing.
type job[T Resource] struct {
	pool    *Pool[T]
	oneOff  bool // for one lease in degraded mode: one attempt, no Warmup
	trial   bool // made while a circuit is open: one attempt
	own     bool // the trial is one of the pool's own circuit
	shared  bool // the trial is one of the hub's circuit
	replace bool // of the resource that the keeper wants replaced

	began     int64
	attempts  int
	evictions uint64 // of the pool when the last attempt began
}

type jobKey struct{}

// startLocked begins an open. REQUIRES: the lock.
func (h *hub[T]) startLocked(p *Pool[T], oneOff bool) {
	j := &job[T]{pool: p, oneOff: oneOff, began: h.now()}
	if oneOff {
		p.oneOffs++
	} else {
		if p.openCircuitLocked() != nil {
			j.trial, j.own, j.shared = true, p.circuit.begin(), h.circuit.begin()
		}
		if p.replace != nil && !p.replacing {
			j.replace, p.replacing = true, true
		}
		p.grow = false
	}
	h.places++
	h.opening++
	p.opening++
	p.tally.begin()
	p.tally.opening.Add(1)
	p.tally.end()
	h.jobs.Add(1)
	go j.do()
}

// do opens the resource and brings it home.
func (j *job[T]) do() {
	p, h := j.pool, j.pool.hub
	defer h.jobs.Done()
	pres, err := h.ledger.Acquire(context.WithValue(context.Background(), jobKey{}, j))
	h.lock()
	h.opening--
	p.opening--
	if j.oneOff {
		p.oneOffs--
	}
	if j.replace {
		p.replacing = false
	}
	p.tally.begin()
	p.tally.opening.Add(-1)
	if err == nil {
		r := pres.Value()
		r.pres = pres
		p.tally.opened.Add(1)
		p.arriveLocked(j, r)
	} else {
		h.places--
		p.tally.end()
		p.failLocked(j, err)
	}
	h.demandLocked(p)
	h.unlock()
}

// arriveLocked puts a new resource into a slot, or has it closed if it is no
// longer wanted. REQUIRES: the lock and an open tally, which it ends.
func (p *Pool[T]) arriveLocked(j *job[T], r *resource[T]) {
	p.lastErr.Store(nil)
	if !j.oneOff {
		p.fails, p.retryAt = 0, 0
		p.closeCircuitLocked(&p.circuit) // whatever becomes of r
		p.closeCircuitLocked(&p.hub.circuit)
	}
	unwanted := ReasonNone
	switch {
	case p.closed:
		unwanted = ReasonClosed
	case j.evictions != p.evictions:
		unwanted = ReasonEvicted
	case p.roomLocked() <= 0:
		unwanted = ReasonShrunk
	}
	var heir *waiter[T]
	if j.oneOff && unwanted == ReasonNone {
		if heir = p.eldestLocked(); heir == nil {
			unwanted = ReasonOneOff
		}
	}
	if unwanted != ReasonNone {
		p.doomLocked(r, unwanted, nil)
		p.tally.end()
		return
	}
	s := p.vacantLocked()
	s.res.Store(r)
	s.base = s.word.Load() >> countShift
	s.keep = upkeep{count: s.base, since: r.openedAt, probed: r.openedAt}
	p.live++
	p.tally.live.Add(1)
	if heir != nil {
		s.reason = ReasonOneOff
		p.retiring++
		lease, _ := s.claim(0, 1, flagLive|flagRetiring, 0)
		p.tally.end()
		p.giveLocked(heir, lease, nil)
		return
	}
	s.mark(flagLive, 0)
	p.tally.end()
	if old := p.replace; j.replace && old != nil {
		p.replace = nil
		if old.res.Load().id == p.replaceID {
			p.retireLocked(old, ReasonExpired, nil)
		}
	}
	p.settleLocked(s)
	p.readyLocked()
	p.renewLocked(p.hub.now())
}

// failLocked notes an open that came to nothing. Where nothing is alive the
// oldest waiter is told; otherwise a released lease may still serve it.
// REQUIRES: the lock.
func (p *Pool[T]) failLocked(j *job[T], err error) {
	p.hub.recheck = p.hub.recheck || j.trial // what was held back for the trial
	if j.own {
		p.circuit.abort()
	}
	if j.shared {
		p.hub.circuit.abort()
	}
	if j.replace {
		p.replace = nil
	}
	if p.closed {
		return
	}
	now := p.hub.now()
	if !j.oneOff { // which says nothing of those that stay
		p.fails++
		pause := p.cfg.RetryMax
		if doublings := min(p.fails-1, 62); p.cfg.RetryMin <= pause>>doublings {
			pause = p.cfg.RetryMin << doublings
		}
		p.retryAt = now + int64(jitter(pause, p.cfg.RetryMin, p.cfg.RetryMax))
	}
	if p.cfg.Degrade && !p.ready.Load() && !p.degraded.Load() && !j.oneOff {
		p.degraded.Store(true)
		if hook := p.cfg.Hooks.Degraded; hook != nil {
			p.emitLocked("Degraded", func() { hook(Degraded{Pool: p.cfg.Name, Cause: err}) })
		}
	}
	if p.usableLocked() == 0 && (j.oneOff || !p.degraded.Load()) {
		if w := p.eldestLocked(); w != nil {
			p.giveLocked(w, Lease[T]{}, &OpenError{
				Pool: p.cfg.Name, Attempts: j.attempts, Elapsed: time.Duration(now - j.began), Err: err,
			})
		}
	}
	if p.openCircuitLocked() != nil {
		for _, other := range p.hub.pools {
			other.shedLocked()
		}
	}
}

// shedLocked tells those who cannot live to see the next trial.
// REQUIRES: the lock.
func (p *Pool[T]) shedLocked() {
	c := p.openCircuitLocked()
	if c == nil {
		return
	}
	for _, l := range []*line[T]{&p.queue, &p.side} {
		for w := l.head; w != nil; {
			next := w.next
			if w.want != wantPin && w.pinned == 0 && p.hopelessLocked(w, c) {
				p.giveLocked(w, Lease[T]{}, p.circuitErr(c))
			}
			w = next
		}
	}
}

// construct is puddle's constructor.
func construct[T Resource](ctx context.Context) (*resource[T], error) {
	return ctx.Value(jobKey{}).(*job[T]).run() //nolint:errcheck // job.do puts it there
}

// run makes attempts until one succeeds or there is no use in another.
func (j *job[T]) run() (*resource[T], error) {
	p, h := j.pool, j.pool.hub
	pause := p.cfg.RetryMin
	for {
		j.attempts++
		h.lock()
		j.evictions = p.evictions
		shared, own := h.circuit.epoch, p.circuit.epoch
		h.unlock()
		r, err := j.attempt()
		if err == nil {
			return r, nil
		}
		if p.ctx.Err() != nil {
			return nil, ErrClosed
		}
		fault, permanent := p.ask("KeyFault", p.keyFault, err), p.ask("Permanent", p.cfg.Permanent, err)
		h.lock()
		p.tally.openFailures.Add(1)
		p.lastErr.Store(&err)
		again := !permanent && !j.oneOff && !j.trial && j.attempts <= p.cfg.OpenRetries
		if !j.oneOff {
			c, epoch, trial := &h.circuit, shared, j.shared
			if fault { // whoever refuses the key's credentials is alive
				c, epoch, trial = &p.circuit, own, j.own
				p.closeCircuitLocked(&h.circuit)
				j.shared = false
				h.demandLocked(p)
			}
			if c.fail(h.now(), epoch, trial, err) {
				p.circuitOpenedLocked(c)
			}
			again = again && p.mayRetryLocked()
		}
		h.unlock()
		if !again || !p.sleep(jitter(pause, p.cfg.RetryMin, p.cfg.RetryMax)) {
			return nil, err
		}
		h.lock()
		again = p.mayRetryLocked() // another open may have opened the circuit
		h.unlock()
		if !again {
			return nil, err
		}
		p.tally.retries.Add(1)
		pause = min(2*pause, p.cfg.RetryMax)
	}
}

// mayRetryLocked tells whether an open that failed may try again at all.
// REQUIRES: the lock.
func (p *Pool[T]) mayRetryLocked() bool {
	return p.openCircuitLocked() == nil && p.strandedLocked() < p.max
}

// attempt calls Open and Warmup once.
func (j *job[T]) attempt() (*resource[T], error) {
	p := j.pool
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.OpenTimeout)
	defer cancel()
	ctx, end := p.observeOpen(ctx, j)
	name := "Open"
	res, err := call(ctx, p, &name, p.cfg.OpenTimeout, &p.strayOpens,
		func(ctx context.Context) (T, error) { return p.openOne(ctx, j.oneOff, &name) },
		func(late T) { p.dispose(late) })
	if err != nil {
		end(0, err)
		return nil, err
	}
	r := p.newResource(res)
	end(r.id, nil)
	return r, nil
}

// newResource gives res its number and its lifetime.
func (p *Pool[T]) newResource(res T) *resource[T] {
	r := &resource[T]{pool: p, value: res, id: p.ids.Add(1), openedAt: p.hub.now(), lifetime: p.cfg.MaxLifetime}
	if r.lifetime != never {
		r.lifetime -= time.Duration(rand.Int64N(int64(r.lifetime)/10 + 1))
	}
	_, probes := any(res).(prober)
	_, resets := any(res).(resetter)
	r.probes = probes || p.cfg.Probe != nil
	r.resets = resets || p.cfg.Reset != nil
	return r
}

// openOne is what an attempt runs on its own goroutine. It notes in *name which
// callback it is at.
func (p *Pool[T]) openOne(ctx context.Context, oneOff bool, name *string) (T, error) {
	var zero T
	res, err := p.cfg.Open(ctx)
	if err != nil {
		return zero, err
	}
	if isNil(res) {
		return zero, errNilResource
	}
	if p.cfg.Warmup == nil || oneOff {
		return res, nil
	}
	*name = "Warmup"
	warm := false
	defer func() {
		if !warm { // an error, a panic or a Goexit
			p.dispose(res)
		}
	}()
	if err := p.cfg.Warmup(ctx, res); err != nil {
		return zero, &warmupError{err}
	}
	warm = true
	return res, nil
}

var errNilResource = errors.New("core: Open returned a nil resource and no error")

type warmupError struct{ err error }

func (e *warmupError) Error() string { return "core: Warmup: " + e.err.Error() }
func (e *warmupError) Unwrap() error { return e.err }

func isNil[T any](res T) bool {
	v := reflect.ValueOf(&res).Elem()
	for v.Kind() == reflect.Interface && !v.IsNil() { // a nil pointer in an interface is no resource either
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Chan, reflect.Func, reflect.Slice:
		return v.IsNil()
	default:
		return false
	}
}

// eldestLocked returns the oldest of those whom a new resource can serve.
// REQUIRES: the lock.
func (p *Pool[T]) eldestLocked() *waiter[T] {
	w := p.frontLocked()
	if c := p.firstClaimLocked(); c != nil && (w == nil || c.seq < w.seq) {
		w = c
	}
	return w
}
