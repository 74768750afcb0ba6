package mcpool

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// lease returns a session of the identity that works as far as anybody knows. It
// was opened at or after the given epoch: after a loss, sessions from before it
// are not taken again.
//
// Where an endpoint has gone that was there a moment ago, it waits for it to come
// back: a restart is no reason to fail a call that has time.
func (p *Pool) lease(ctx context.Context, id *identity, o *options, epoch uint64) (core.Lease[*conn], *conn, error) {
	k := poolKey{id, o.handlers.abilities()}
	w := newPatience(ctx, p)
	for {
		b := p.backend.Load()
		l, err := b.acquire(ctx, k, o.acquireOptions(b, k))
		if err == nil {
			s := l.Value()
			switch {
			case s == nil:
				return l, nil, ErrClosed // taken back by Close in between
			case s.fault() != nil:
				l.Discard(s.fault())
			case s.gone.Load() || s.epoch < epoch:
				l.Discard(ErrSessionGone)
			default:
				return l, s, nil
			}
			continue
		}
		switch {
		case p.ctx.Err() != nil:
			return l, nil, ErrClosed
		case p.backend.Load() != b || errors.Is(err, errSuperseded):
			if err := p.nextBackend(ctx, b); err != nil {
				return l, nil, err
			}
		case !transient(err) || !w.wait(err):
			if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
				err = errors.Join(contextError(ctx), err)
			}
			return l, nil, err
		}
	}
}

// acquireOptions translates o for core. A session that is shared by nature is
// leased exclusively by nobody.
func (o *options) acquireOptions(b *backend, k poolKey) core.AcquireOptions {
	alone := o.exclusive || k.ability != 0
	return core.AcquireOptions{Key: o.key, Affinity: o.affinity, Exclusive: alone && !b.modern && b.share > 1}
}

// nextBackend waits until b has been replaced.
func (p *Pool) nextBackend(ctx context.Context, b *backend) error {
	p.mu.Lock()
	swapped, current := p.swapped, p.backend.Load()
	p.mu.Unlock()
	if current != b {
		return nil
	}
	select {
	case <-swapped:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	case <-p.ctx.Done():
		return ErrClosed
	}
}

// transient tells whether a failure to get a session may pass: the endpoint could
// not be reached, and nobody said no.
func transient(err error) bool {
	var open *core.OpenError
	return (errors.As(err, &open) || errors.Is(err, core.ErrCircuitOpen)) && !isPermanent(err) && !isRefusal(err)
}

// patience is how long, and how often, one call tries again.
type patience struct {
	pool  *Pool
	ctx   context.Context
	until time.Time // by when the grace for a restart ends; zero if there is none
	pause time.Duration
}

func newPatience(ctx context.Context, p *Pool) patience {
	return patience{pool: p, ctx: ctx, pause: 20 * time.Millisecond}
}

// wait waits before another try and returns true, or returns false if there is
// to be none. The grace begins with the first failure after the endpoint was last
// known to work: one that never was there, or is long gone, is not waited for.
func (w *patience) wait(why error) bool {
	p := w.pool
	if w.until.IsZero() {
		if !p.everAlive.Load() {
			return false
		}
		if p.downSince.CompareAndSwap(0, p.now()) {
			p.journal.write(slog.LevelWarn, "no answer, calls wait for it to come back", "", cause(why))
		}
		w.until = time.Now().Add(365 * 24 * time.Hour)
		if grace := p.cfg.RestartGrace; grace != never {
			w.until = p.began.Add(time.Duration(p.downSince.Load()) + grace)
		}
	}
	pause := time.Duration(float64(w.pause) * (0.5 + rand.Float64()))
	w.pause = min(2*w.pause, 500*time.Millisecond)
	if time.Now().Add(pause).After(w.until) {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.ctx.Done():
		return false
	case <-p.ctx.Done():
		return false
	}
}

// alive notes that the endpoint has answered what was begun when it was down since
// down, or was not known to be (0). An answer to what began before is no sign that it
// is back: it may have been given before it went, and be noticed only now.
func (p *Pool) alive(down int64) {
	if !p.everAlive.Load() {
		p.everAlive.Store(true)
	}
	if down != 0 && p.downSince.CompareAndSwap(down, 0) {
		p.journal.write(slog.LevelInfo, "answers again", "", slog.Duration("after", time.Duration(p.now()-down)))
	}
}
