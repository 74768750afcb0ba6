package mcpool

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// run keeps a session for the subscriptions as long as there are any.
func (r *subscriber) run() {
	p := r.id.pool
	pause := minListenPause
	for first := true; r.goesOn(); first = false {
		began := p.now()
		if err := r.hold(first); err != nil {
			r.mu.Lock()
			r.last = err
			r.mu.Unlock()
			if isPermanent(err) || isRefusal(err) || errors.Is(err, ErrNotOffered) || !p.everAlive.Load() {
				r.refuse(err) // waiting will not help
			}
			p.journal.write(slog.LevelWarn, "updates of resources are not heard", "", slog.String("identity", r.id.label), cause(err))
		}
		if time.Duration(p.now()-began) > time.Minute {
			pause = minListenPause
		}
		longest := maxListenPause
		if r.waitedFor() {
			longest = time.Second // as long as a call would pause
		}
		if pause = min(pause, longest); r.rest(pause) {
			pause *= 2
		} else {
			pause = minListenPause // somebody new may not have as long
		}
	}
}

const (
	minListenPause = 100 * time.Millisecond
	maxListenPause = 30 * time.Second
)

// goesOn tells whether somebody is subscribed. If not, the next one starts anew.
func (r *subscriber) goesOn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = len(r.subs) > 0 && r.id.pool.ctx.Err() == nil
	return r.running
}

// waitedFor tells whether somebody waits for an answer.
func (r *subscriber) waitedFor() bool {
	for _, waiting := range r.wanted() {
		if waiting {
			return true
		}
	}
	return false
}

// rest waits, and returns false if the wait was cut short because somebody came or
// went.
func (r *subscriber) rest(pause time.Duration) bool {
	timer := time.NewTimer(time.Duration(float64(pause) * (0.5 + rand.Float64())))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.changed:
	case <-r.id.pool.ctx.Done():
	}
	return false
}

// hold opens a session and keeps it subscribed until it ends or nobody is left. It
// returns an error if the session was of no use.
func (r *subscriber) hold(first bool) error {
	p := r.id.pool
	h := newHearing(nil)
	tell := r.told
	h.update.Store(&tell)
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.ConnectTimeout)
	defer cancel()
	down := p.downSince.Load()
	s, err := p.connect(ctx, r.id, 0, h)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it holds nothing that could be lost
	if !s.offersUpdates() {
		return ErrNotOffered
	}
	p.alive(down)
	if !first {
		p.counts.listenerReopens.Add(1)
	}
	gone := make(chan struct{})
	go func() {
		_ = s.cs.Wait() // that it ended is all there is to know
		close(gone)
	}()
	active := make(map[string]bool)
	for {
		again, err := r.align(s, h, active)
		if err != nil || again < 0 {
			return err
		}
		var retry <-chan time.Time
		if again > 0 {
			timer := time.NewTimer(again)
			defer timer.Stop() // one at a time is live, and they are rare
			retry = timer.C
		}
		select {
		case <-gone:
			return nil
		case <-h.ended:
			return nil
		case <-p.ctx.Done():
			return nil
		case <-r.changed:
		case <-retry:
		}
	}
}

// align subscribes the session to what is wanted and not active, and the other way
// round. It returns after which time to try again what the server refused, -1 if
// nobody is left, and an error if the session has to be replaced.
func (r *subscriber) align(s *conn, h *hearing, active map[string]bool) (again time.Duration, err error) {
	wanted := r.wanted()
	if len(wanted) == 0 {
		return -1, nil
	}
	timeout := r.id.pool.cfg.ConnectTimeout
	for uri := range active {
		if _, ok := wanted[uri]; !ok {
			delete(active, uri)
			ctx, cancel := context.WithTimeout(r.id.pool.ctx, timeout)
			_ = s.unsubscribe(ctx, h, uri) // at worst there are updates that concern nobody
			cancel()
		}
	}
	for uri, waiting := range wanted {
		if active[uri] && !waiting {
			continue
		}
		if !active[uri] {
			ctx, cancel := context.WithTimeout(r.id.pool.ctx, timeout)
			err := s.subscribe(ctx, h, uri)
			cancel()
			var rpc *jsonrpc.Error
			switch {
			case errors.As(err, &rpc) && rpc.Code != codeRejected && !isSessionNotFound(rpc):
				r.answer(uri, err)
				again = maxListenPause
				continue
			case err != nil:
				return 0, s.explain(r.id.pool.ctx, err)
			}
			active[uri] = true
			r.answer(uri, nil)
			continue
		}
		r.join(uri)
	}
	return again, nil
}

// wanted returns the resources that somebody is subscribed to, and whether somebody
// waits for an answer.
func (r *subscriber) wanted() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := make(map[string]bool)
	for s := range r.subs {
		wanted[s.uri] = wanted[s.uri] || !s.answered
	}
	return wanted
}

// join accepts those who come to a resource that is heard already.
func (r *subscriber) join(uri string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.subs {
		if s.uri == uri && !s.answered {
			s.accepted = true
			s.replyLocked(nil)
		}
	}
}
