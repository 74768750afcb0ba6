package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// echo: messages come back as they were.
func (s *transportSuite[C]) echo(r *report) {
	l := s.use(r, s.opts.Config).must()
	r.within("a message that comes back", func() {
		for _, text := range []string{
			"", "a", "größe \u2028\u00a0\U0001f600", "\x00\x1b\r\n\t\"\\/", strings.Repeat("x", 70_000), poison,
		} {
			_, m := l.message(text)
			if err := l.exchange(context.Background(), m); err != nil {
				r.faultf("a message that should come back: %v", err)
			}
		}
		// White space between tokens may become other white space.
		spaced := []byte("{\n \"id\" :\r\n\t\"s\" }\n")
		if err := l.Send(context.Background(), spaced); err != nil {
			r.faultf("a message with lines in it: %v", err)
			return
		}
		got, err := l.next()
		var compact bytes.Buffer
		if err == nil {
			err = json.Compact(&compact, got)
		}
		if err != nil || compact.String() != `{"id":"s"}` {
			r.faultf("a message with lines in it came back as %q: %v", got, err)
		}
	})
}

// sizes: what is as large as it may be comes through, and what is larger does not.
func (s *transportSuite[C]) sizes(r *report) {
	u := s.use(r, s.opts.Config)
	l := u.must()
	sized := func(n int) []byte { return floodMessage(0, n) }
	r.within("messages of 1 MiB", func() {
		ctx := context.Background()
		for _, n := range []int{limit - 1, limit} {
			var sent error
			within, giveUp := context.WithTimeout(ctx, s.patience)
			sending := r.start("Send", func() {
				if sent = l.Send(ctx, sized(n)); sent != nil {
					giveUp() // nothing comes back
				}
			})
			got, err := l.Receive(within)
			r.wait("Send", sending)
			giveUp()
			if err != nil || sent != nil || !bytes.Equal(got, sized(n)) {
				r.faultf("a message of %d bytes, with MaxBytes = %d: sending %v, receiving %v, %d bytes", n, limit, sent, err, len(got))
			}
		}
		err := l.Send(ctx, sized(limit+1))
		size, typed := errors.AsType[*transport.SizeError](err)
		switch {
		case err == nil:
			r.faultf("Send took a message of %d bytes, with MaxBytes = %d", limit+1, limit)
		case !typed || !size.Sending || !errors.Is(err, transport.ErrNotSent):
			r.faultf("a message that is too large to be sent: the error is no *transport.SizeError that is ErrNotSent: %v", err)
		}
		_, m := l.message("after")
		if err := l.exchange(ctx, m); err != nil {
			r.faultf("the connection did not outlive a message that was too large to be sent: %v", err)
		}
		if err := l.tell(order{Order: orderFlood, Count: 2, Bytes: limit + 1}); err != nil {
			r.faultf("Send: %v", err)
			return
		}
		if m, err := l.next(); !errors.Is(err, transport.ErrTooLarge) {
			r.faultf("a message that is too large was received, and that is not ErrTooLarge: %d bytes, %v", len(m), err)
		}
		if _, err := l.next(); !errors.Is(err, transport.ErrClosed) {
			r.faultf("after a message that is too large the connection has to end: %v", err)
		}
	})
}

// flood has the peer send messages with numbers, and receives them.
func (s *transportSuite[C]) flood(r *report, l *line, count, size int, pause func()) {
	if err := l.tell(order{Order: orderFlood, Count: count, Bytes: size}); err != nil {
		r.faultf("Send: %v", err)
		return
	}
	pause()
	for i := range count {
		got, err := l.next()
		if err != nil {
			r.faultf("receiving message %d of %d: %v", i, count, err)
			return
		}
		if want := floodMessage(i, size); !bytes.Equal(got, want) {
			r.faultf("message %d of %d came as %.40q (%d bytes), want %.40q (%d bytes)", i, count, got, len(got), want, len(want))
			return
		}
	}
}

// order: messages come once each, in the order in which they were sent.
func (s *transportSuite[C]) order(r *report) {
	l := s.use(r, s.opts.Config).must()
	r.within("receiving", func() {
		s.flood(r, l, 300, 50, func() {})
		s.flood(r, l, 20, 100_000, func() { time.Sleep(s.lull) }) // nobody receives for a while
		// Both directions at once, and neither waits for the other.
		const n = 100
		sent := make([][]byte, n)
		for i := range sent {
			_, sent[i] = l.message(strings.Repeat("y", 10_000))
		}
		sending := r.start("Send", func() {
			for _, m := range sent {
				if err := l.Send(context.Background(), m); err != nil {
					r.faultf("Send beside Receive: %v", err)
					return
				}
			}
		})
		for i := range sent {
			if got, err := l.next(); err != nil || !bytes.Equal(got, sent[i]) {
				r.faultf("message %d of %d came back as %.40q: %v", i, n, got, err)
				break
			}
		}
		r.wait("Send beside Receive", sending)
	})
}

// much is more than a medium and what is in front of it should hold: 32 messages of
// 1 MiB.
const much = 32

// pressure: who does not read holds up who sends, both ways; nothing is kept for it.
func (s *transportSuite[C]) pressure(r *report) {
	u := s.use(r, s.opts.Config)
	b := newBook(r)
	l := u.must()
	r.within("a peer that sends 32 MiB", func() {
		if err := b.open(l); err != nil {
			r.faultf("the ledger: %v", err)
			return
		}
		s.flood(r, l, much, limit, func() {
			// It gets that long to send what it can. Whoever is slower is not found out.
			if r.pollFor(50*s.lull, func() bool { return len(b.lines("wrote")[l.name]) == much }) {
				r.faultf("nobody receives, and the peer could send %d messages of 1 MiB: something keeps them", much)
			}
		})
	})
	if r.Failed() {
		return
	}
	deaf := u.must()
	if err := deaf.tell(order{Order: orderDeaf}); err != nil {
		r.faultf("Send: %v", err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var taken int
	sending := r.start("Send to a peer that does not read", func() {
		_, m := deaf.message(strings.Repeat("z", limit-100))
		for taken < much && deaf.Send(ctx, m) == nil {
			taken++
		}
		if taken == much {
			r.faultf("the peer does not read, and Send took %d messages of 1 MiB: something keeps them", taken)
		}
	})
	r.pollFor(50*s.lull, func() bool {
		select {
		case <-sending:
			return true
		default:
			return false
		}
	})
	cancel()
	r.wait("Send to a peer that does not read, whose context was cancelled", sending)
}

// once: no message is sent twice, and what is said not to have been sent was not.
func (s *transportSuite[C]) once(r *report) {
	u := s.use(r, s.opts.Config)
	b := newBook(r)
	var mu sync.Mutex
	var closed []*line
	notSent := make(map[string]bool)
	r.atOnce("a sender", func(n int) {
		for range rounds {
			l := u.must()
			if err := b.open(l); err != nil {
				r.faultf("the ledger: %v", err)
				return
			}
			for i := range 20 {
				id, m := l.message(strings.Repeat("w", 1000*n))
				after := s.patience
				if i >= 10 { // from then on there is less and less time
					after = time.Duration((20-i)*(20-i)) * 100 * time.Microsecond
				}
				ctx, cancel := ending(context.Canceled, after)
				err := l.Send(ctx, m)
				if errors.Is(err, transport.ErrNotSent) {
					mu.Lock()
					notSent[id] = true
					mu.Unlock()
				}
				if err == nil {
					_, err = l.Receive(ctx)
				}
				cancel()
				if err != nil {
					break // the connection may be of no more use
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), s.patience)
			_ = l.Close(ctx, transport.Done)
			cancel()
			mu.Lock()
			closed = append(closed, l)
			mu.Unlock()
		}
	})
	for _, l := range closed {
		if b.ended(l); r.Failed() {
			return
		}
	}
	b.audit(notSent)
}

// audit compares what the peers got with what the senders know.
func (b *book) audit(notSent map[string]bool) {
	seen := make(map[string]bool)
	for _, ids := range b.lines("got") {
		for _, id := range ids {
			switch {
			case seen[id]:
				b.r.faultf("the peer got message %s twice", id)
			case notSent[id]:
				b.r.faultf("Send returned ErrNotSent for message %s, and the peer got it whole", id)
			}
			seen[id] = true
		}
	}
}

// torn: a connection that is cut in mid-message ends with what was whole, and says that
// the peer is gone.
func (s *transportSuite[C]) torn(r *report) {
	l := s.use(r, s.opts.Config).must()
	r.within("a connection that is torn", func() {
		if err := l.tell(order{Order: orderTear}); err != nil {
			r.faultf("Send: %v", err)
			return
		}
		if m, err := l.next(); err != nil || string(m) != whole {
			r.faultf("the last whole message before the connection was torn came as %q: %v", m, err)
		}
		for range 2 {
			m, err := l.next()
			end, ok := errors.AsType[*transport.CloseError](err)
			switch {
			case err == nil:
				r.faultf("half a message was received as a whole one: %q", m)
			case !ok:
				r.faultf("after the connection was torn, Receive returned no *transport.CloseError: %v", err)
			case end.Reason != transport.PeerGone && end.Reason != transport.ProtocolError:
				r.faultf("the connection was torn, and the reason is %v, want %v: %v", end.Reason, transport.PeerGone, err)
			}
		}
		s.useless(r, l)
	})
}

// useless: sending on a connection that has ended fails, after a while at the latest.
func (s *transportSuite[C]) useless(r *report, l *line) {
	var err error
	failed := r.poll(func() bool {
		_, m := l.message("to nobody")
		ctx, cancel := context.WithTimeout(context.Background(), s.patience)
		defer cancel()
		err = l.Send(ctx, m)
		return err != nil
	})
	if !failed || !errors.Is(err, transport.ErrClosed) {
		r.faultf("Send on a connection that has ended: %v, want a *transport.CloseError", err)
	}
}

// left: what a peer sent before it left arrives, and then the end.
func (s *transportSuite[C]) left(r *report) {
	l := s.use(r, s.opts.Config).must()
	r.within("a connection whose peer leaves", func() {
		var sent [][]byte
		for range 6 {
			_, m := l.message("before the end")
			sent = append(sent, m)
			if err := l.Send(context.Background(), m); err != nil {
				r.faultf("Send: %v", err)
				return
			}
		}
		if err := l.tell(order{Order: orderLeave}); err != nil {
			r.faultf("Send: %v", err)
			return
		}
		for i, want := range sent {
			if got, err := l.next(); err != nil || !bytes.Equal(got, want) {
				r.faultf("message %d of %d that the peer sent before it left came as %.40q: %v", i, len(sent), got, err)
				return
			}
		}
		for range 2 {
			m, err := l.next()
			if end, ok := errors.AsType[*transport.CloseError](err); !ok || end.Reason == transport.SessionGone {
				r.faultf("the peer left, and Receive returned %q, %v, want a *transport.CloseError that does not claim that the session is unknown", m, err)
			}
		}
		s.useless(r, l)
	})
}

// failures: they have the type that callers look for, and show no secret.
func (s *transportSuite[C]) failures(r *report) {
	if len(s.opts.Failures) == 0 {
		r.Skip("Failures is empty: nothing says which configurations fail")
	}
	for _, f := range s.opts.Failures {
		p, err := s.open.make(r, f.Config)
		if err != nil && f.Field == "" {
			r.faultf("%s: the factory: %v", f.Name, err)
			continue
		}
		if err == nil {
			u := s.dialer(r, p)
			r.within("Dial", func() {
				ctx, cancel := context.WithTimeout(context.Background(), s.patience)
				defer cancel()
				var l *line
				if l, err = u.Dial(ctx); err == nil {
					_ = l.Close(ctx, transport.Done)
				}
			})
		}
		_, refused := errors.AsType[*transport.RefusedError](err)
		switch {
		case f.Field != "" && !slices.Contains(faulty(err, transportField), f.Field):
			r.faultf("%s: the error holds no *transport.ConfigError of the field %s: %v", f.Name, f.Field, err)
		case err == nil || f.Is != nil && !errors.Is(err, f.Is):
			r.faultf("%s: got the error %v, want %v", f.Name, err, f.Is)
		case f.Field == "" && refused != f.Refused:
			r.faultf("%s: that the error is a *transport.RefusedError is %v, want %v: %v", f.Name, refused, f.Refused, err)
		}
	}
}

// dials is a connection that is opened and closed.
func (s *transportSuite[C]) dials(u *dialer) call {
	return func(ctx context.Context) error {
		l, err := u.Dial(ctx)
		if err != nil {
			return err
		}
		within, cancel := context.WithTimeout(context.Background(), s.patience)
		defer cancel()
		if err := l.Close(within, transport.Done); err != nil {
			return fmt.Errorf("closing: %w", err)
		}
		return nil
	}
}
