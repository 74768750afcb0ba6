package plugintest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// ending: dialling, sending and receiving end soon after their context.
func (s *transportSuite[C]) ending(r *report, how error) {
	u := s.use(r, s.opts.Config)
	for _, after := range moments { // a connection each: it may be of no more use
		l := u.must()
		ctx, cancel := ending(how, after)
		r.within("Receive "+ended(how), func() {
			if m, err := l.Receive(ctx); !errors.Is(err, how) {
				r.faultf("Receive %s returned %q, %v, and nothing was sent", ended(how), m, err)
			}
		})
		cancel()
		s.sendEnding(r, u.must(), how, after)
		if r.Failed() {
			return
		}
	}
	r.ends("Dial", how, s.dials(u), false)
	if s.opts.Stalled == nil {
		r.Log("Stalled is nil: that dialling ends with its context is not checked")
		return
	}
	r.ends("Dial", how, s.dials(s.use(r, *s.opts.Stalled)), true)
}

// sendEnding sends to a peer that does not read, for as long as a context lasts.
func (s *transportSuite[C]) sendEnding(r *report, l *line, how error, after time.Duration) {
	if err := l.tell(order{Order: orderDeaf}); err != nil {
		r.faultf("Send: %v", err)
		return
	}
	ctx, cancel := ending(how, after)
	defer cancel()
	r.within("Send "+ended(how), func() {
		_, m := l.message(strings.Repeat("z", limit-100))
		for range much {
			err := l.Send(ctx, m)
			switch {
			case err == nil:
				continue
			case !errors.Is(err, how):
				r.faultf("Send %s returned another error: %v", ended(how), err)
			}
			return
		}
		r.faultf("the peer does not read, and Send took %d messages of 1 MiB: something keeps them", much)
	})
	past, end := short()
	defer end()
	_ = l.Close(past, transport.PeerGone)
}

// alone: the end of one connection's caller is not that of another's.
func (s *transportSuite[C]) alone(r *report) {
	u := s.use(r, s.opts.Config)
	receives := func(l *line) call {
		return func(ctx context.Context) error {
			_, err := l.Receive(ctx)
			return err
		}
	}
	s.suite.alone(r, "Receive", receives(u.must()), receives(u.must()))
	if s.opts.Stalled != nil {
		stalled := s.use(r, *s.opts.Stalled)
		s.suite.alone(r, "Dial", s.dials(stalled), s.dials(stalled))
	}
}

// concurrent: connections know nothing of each other.
func (s *transportSuite[C]) concurrent(r *report) {
	u := s.use(r, s.opts.Config)
	r.atOnce("a connection", func(n int) {
		for range rounds {
			l := u.must()
			for i := range 10 {
				_, m := l.message(strings.Repeat("v", 100*n*i))
				if err := l.exchange(context.Background(), m); err != nil {
					r.faultf("a connection among others: %v", err)
					return
				}
			}
			if err := l.Close(context.Background(), transport.Done); err != nil {
				r.faultf("Close of a connection among others: %v", err)
			}
		}
	})
}

// closing: a connection ends for both sides, and says so from then on.
func (s *transportSuite[C]) closing(r *report) {
	u := s.use(r, s.opts.Config)
	b := newBook(r)
	for reason := transport.Done; reason <= transport.ProtocolError; reason++ {
		l := u.must()
		r.within("the ledger", func() {
			if err := b.open(l); err != nil {
				r.faultf("the ledger: %v", err)
			}
		})
		if err := l.Close(context.Background(), reason); err != nil {
			r.faultf("Close for %v: %v", reason, err)
		}
		if r.Failed() {
			return
		}
		b.ended(l)
		r.within("a call after Close", func() {
			_, m := l.message("after Close")
			if err := l.Send(context.Background(), m); !errors.Is(err, transport.ErrClosed) {
				r.faultf("Send after Close returned %v, want a *transport.CloseError", err)
			}
			if m, err := l.Receive(context.Background()); !errors.Is(err, transport.ErrClosed) {
				r.faultf("Receive after Close returned %q, %v, want a *transport.CloseError", m, err)
			}
		})
		if err := l.Close(context.Background(), transport.Done); err != nil {
			r.faultf("the second Close returned %v, and the first nil", err)
		}
	}
	past, cancel := context.WithCancel(context.Background())
	cancel()
	_ = u.must().Close(past, transport.Done)
}

// closingBeside: calls that wait end with a Close, also several at the same time.
func (s *transportSuite[C]) closingBeside(r *report) {
	u := s.use(r, s.opts.Config)
	l := u.must()
	if err := l.tell(order{Order: orderDeaf}); err != nil {
		r.faultf("Send: %v", err)
		return
	}
	receiving := r.start("Receive", func() {
		if m, err := l.Receive(context.Background()); !errors.Is(err, transport.ErrClosed) {
			r.faultf("Receive beside Close returned %q, %v, want a *transport.CloseError", m, err)
		}
	})
	sending := r.start("Send", func() {
		_, m := l.message(strings.Repeat("z", limit-100))
		for range much {
			if err := l.Send(context.Background(), m); err != nil {
				if !errors.Is(err, transport.ErrClosed) {
					r.faultf("Send beside Close returned %v, want a *transport.CloseError", err)
				}
				return
			}
		}
	})
	time.Sleep(10 * s.lull) // lets both get under way, and proves nothing
	r.atOnce("Close", func(int) {
		ctx, cancel := context.WithTimeout(context.Background(), s.patience)
		defer cancel()
		r.inspectError("Close", l.c.Close(ctx, transport.Done))
	})
	r.wait("Receive beside Close", receiving)
	r.wait("Send beside Close", sending)
}

// goroutines: what the dialer and its connections started ends with them.
func (s *transportSuite[C]) goroutines(r *report) {
	r.leaks(func(r *report) {
		p, err := s.open.make(r, s.opts.Config)
		if err != nil {
			r.Fatalf("the factory: %v", err)
		}
		u := &dialer{r: r, p: p, open: s.opts.Open}
		for _, then := range []order{{}, {Order: orderTear}, {Order: orderDeaf}} {
			l := u.must()
			r.within("a connection", func() {
				_, m := l.message("first")
				if err := l.exchange(context.Background(), m); err != nil {
					r.faultf("a message that should come back: %v", err)
				}
				if then.Order != "" {
					_ = l.tell(then)
				}
			})
			_ = l.Close(context.Background(), transport.Done)
		}
		if s.opts.Stalled != nil {
			ctx, cancel := context.WithTimeout(context.Background(), moments[2])
			defer cancel()
			stalled := s.use(r, *s.opts.Stalled)
			r.within("Dial whose deadline passed", func() { _ = s.dials(stalled)(ctx) })
		}
		if c, ok := p.(closer); ok {
			_ = c.Close(context.Background())
		}
	})
}

// printing: a dialer that gets into a log shows no secret. Connections are not printed:
// what they are made of may change meanwhile.
func (s *transportSuite[C]) printing(r *report) {
	u := s.use(r, s.opts.Config)
	r.inspect("a printed dialer", printed(u.p))
	_ = u.must().Close(context.Background(), transport.Done)
	r.inspect("a printed dialer, used", printed(u.p))
}
