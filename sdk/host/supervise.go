package host

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"
)

// supervise keeps a process running until Close. It is the only one that ends a
// process which failed.
func (r *Running) supervise() {
	for {
		r.mu.Lock()
		p := r.proc
		r.mu.Unlock()
		if p == nil {
			if !r.restart() {
				return
			}
			continue
		}
		select {
		case <-p.condemned:
			r.bury(p)
		case <-r.kick: // Replace put another in its place
		case <-r.life.Done():
			return
		}
	}
}

// bury ends a condemned process, unless Replace has taken it.
func (r *Running) bury(p *process) {
	r.mu.Lock()
	if r.proc != p {
		r.mu.Unlock()
		return
	}
	r.proc = nil
	if time.Since(p.began) >= p.plugin.Limits.StableAfter {
		r.failures = 0
	}
	why := p.why()
	r.failedLocked(errors.New(why))
	r.mu.Unlock()
	p.plugin.Logger.Warn("plugin failed", "reason", why, "pid", p.child.number())
	p.destroy()
	// A crash is mostly heard of as a broken connection. How the process ended says more.
	if state, _ := p.child.ending(); state != "" && !strings.Contains(why, state) {
		r.mu.Lock()
		r.failure = why + ", and the process ended (" + state + ")"
		r.mu.Unlock()
	}
}

// failedLocked counts a failure and opens the circuit when there were too many.
//
// REQUIRES: r.mu.
func (r *Running) failedLocked(err error) {
	r.failures++
	r.failure = err.Error()
	l := &r.plugin.Limits
	if l.CircuitAfter > 0 && r.failures >= l.CircuitAfter {
		r.down = &DownError{
			Plugin: r.name, Failures: r.failures, Err: err, RetryAt: time.Now().Add(backoff(l, r.failures)),
		}
		r.changeLocked()
	}
}

// backoff is how long to wait after so many failures in a row, without the jitter:
// not at all after the first.
func backoff(l *Limits, failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	d := l.RestartMin
	for range failures - 2 {
		if d >= l.RestartMax/2 {
			return l.RestartMax
		}
		d *= 2
	}
	return min(d, l.RestartMax)
}

// jitter takes up to half of a wait away, so that hosts which failed together do not
// start together.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Float64()*float64(d)/2)
}

// restart makes one attempt, after the backoff. It reports false after Close.
func (r *Running) restart() bool {
	r.mu.Lock()
	p, img, failures := r.plugin, r.image, r.failures
	r.mu.Unlock()
	if !r.pause(jitter(backoff(&p.Limits, failures))) {
		return r.life.Err() == nil // kicked
	}
	proc, err := startProcess(r.life, p, img, r.run)
	var replayed []*instance
	if err == nil {
		replayed, _ = r.replay(r.life, proc) // what cannot be opened now is opened by its next call
	}
	if unsettled := r.settle(r.life, proc, replayed); err == nil {
		err = unsettled
	}
	defer r.mu.Unlock()
	overtaken := func() bool { return r.plugin != p || r.closed } // by Replace, or Close
	if proc != nil && (err != nil || overtaken()) {
		r.mu.Unlock()
		proc.destroy()
		r.mu.Lock()
	}
	switch {
	case overtaken():
	case err != nil:
		p.Logger.Warn("plugin could not be started again", "error", err)
		r.failedLocked(err)
	default:
		r.proc, r.down, r.description = proc, nil, proc.description
		r.starts++
		p.Logger.Info("plugin started again", "pid", proc.child.number())
		r.changeLocked()
	}
	return !r.closed
}
