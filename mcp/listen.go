package mcpool

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// notices are what is done when the server says that a list changed.
type notices struct{ tools, prompts, resources func() }

// all treats everything as changed: after a time in which nothing was heard.
func (n *notices) all() {
	n.tools()
	n.prompts()
	n.resources()
}

// listener holds the one session of an identity that hears when lists change. It
// counts towards no limit. When it dies it is opened again. Everything that may have
// changed before it was there to hear is treated as if it had.
type listener struct {
	id *identity // immutable after creation

	mu     sync.Mutex
	begun  bool               // guarded by mu; or never to begin
	cancel context.CancelFunc // guarded by mu; nil unless it has begun
}

// listen starts the listener of the identity, once.
func (id *identity) listen() {
	l := id.listener
	if l == nil {
		return
	}
	l.mu.Lock()
	if l.begun {
		l.mu.Unlock()
		return
	}
	l.begun = true
	ctx, cancel := context.WithCancel(id.pool.ctx)
	l.cancel = cancel
	l.mu.Unlock()
	id.pool.start(func() { l.run(ctx) })
}

// stopListening ends the listener of the identity, if it has one.
func (id *identity) stopListening() {
	if id.listener != nil {
		id.listener.stop()
	}
}

func (l *listener) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
	if l.cancel != nil {
		l.cancel()
	}
}

// run opens the listening session again and again.
func (l *listener) run(listening context.Context) {
	p := l.id.pool
	pause := time.Second
	for first := true; listening.Err() == nil; first = false {
		began := p.now()
		heard := l.hear(listening, first)
		if !heard {
			return // the server has nothing to say
		}
		if time.Duration(p.now()-began) > time.Minute {
			pause = time.Second
		}
		select {
		case <-time.After(time.Duration(float64(pause) * (0.5 + rand.Float64()))):
		case <-listening.Done():
			return
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// hear opens a session and listens until it ends. It returns false if there is no
// use in another.
func (l *listener) hear(listening context.Context, first bool) bool {
	p := l.id.pool
	on := newHearing(&l.id.notices)
	ctx, cancel := context.WithTimeout(listening, p.cfg.ConnectTimeout)
	defer cancel()
	s, err := p.connect(ctx, l.id, 0, on)
	if err != nil {
		return listening.Err() == nil && !isPermanent(err)
	}
	defer func() { _ = s.Close() }() // it holds nothing that could be lost
	if !s.speaks() {
		return false
	}
	if !first {
		p.counts.listenerReopens.Add(1)
	}
	l.id.notices.all() // what was fetched before may have changed since
	gone := make(chan struct{})
	go func() {
		_ = s.cs.Wait() // that it ended is all there is to know
		close(gone)
	}()
	select {
	case <-gone:
	case <-on.ended:
	case <-listening.Done():
	}
	return true
}

// speaks tells whether the server announces changes of any list, on a stream that
// is there.
func (s *conn) speaks() bool {
	c := s.cs.InitializeResult().Capabilities
	if c == nil || s.gone.Load() || s.deaf.Load() {
		return false
	}
	return c.Tools != nil && c.Tools.ListChanged || c.Prompts != nil && c.Prompts.ListChanged ||
		c.Resources != nil && c.Resources.ListChanged
}

// gotStream notes what came of asking for the standing stream.
func (s *conn) gotStream(req *http.Request, resp *http.Response) {
	switch {
	case lostStatus(resp.StatusCode) && req.Header.Get(sessionHeader) != "":
		s.gone.Store(true)
	case resp.StatusCode/100 != 2 || mediaType(resp) != "text/event-stream":
		s.deaf.Store(true)
	case s.hears != nil:
		s.hears.gotStream(req)
	}
}
