package plugintest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// credentials: there are some, and they are of use.
func (s *authSuite[C]) credentials(r *report) {
	u := s.use(r, s.opts.Config)
	for _, req := range s.requests() {
		for range 2 {
			r.within("Credentials", func() {
				c, err := u.Credentials(context.Background(), req)
				switch now := time.Now(); {
				case err != nil:
					r.faultf("Credentials of %v: %v", req, err)
				case c.Expired(now):
					r.faultf("Credentials of %v had expired when they came: %v", req, c)
				case len(c.Header) == 0 && !u.signs:
					r.faultf("Credentials of %v hold no header, and there is no Signer", req)
				case c.Generation != "":
					r.inspect("the generation of Credentials", c.Generation)
				}
			})
		}
	}
}

// sign: what is signed stays as it was.
func (s *authSuite[C]) sign(r *report) {
	u := s.use(r, s.opts.Config)
	if !u.signs {
		r.Skip("it does not sign")
	}
	for _, req := range s.requests() {
		r.within("Sign", func() {
			if _, _, err := u.send(context.Background(), req); err != nil {
				r.faultf("Sign for %v: %v", req, err)
			}
		})
	}
}

// challenge: it decides, and does not break what works.
func (s *authSuite[C]) challenge(r *report) {
	u := s.use(r, s.opts.Config)
	r.within("Challenge", func() {
		ctx := context.Background()
		sent, generation, err := u.send(ctx, s.opts.Request)
		if err != nil {
			r.faultf("Credentials of %v: %v", s.opts.Request, err)
			return
		}
		ch := s.opts.Challenge(sent, generation)
		header := ch.Header.Clone()
		if outcome, err := u.Challenge(ctx, s.opts.Request, ch); err == nil && outcome == auth.Retry {
			if _, _, err := u.send(ctx, s.opts.Request); err != nil {
				r.faultf("after Challenge returned Retry, Credentials failed: %v", err)
			}
		}
		if !equalHeader(header, ch.Header) {
			r.faultf("Challenge changed the header of the answer, which is read-only")
		}
		// What else comes back is no reason to break down.
		for _, strange := range []func(*auth.Challenge){
			func(c *auth.Challenge) { c.Header, c.Body = nil, nil },
			func(c *auth.Challenge) { c.Status, c.Header = http.StatusForbidden, http.Header{} },
			func(c *auth.Challenge) {
				c.Header = http.Header{"Www-Authenticate": {"", "Bearer", `Bearer realm="`, `Digest x=,,="\`, "\xff\x00"}, "Date": {"yesterday"}}
				c.Body = []byte("\xff\x00{")
			},
			func(c *auth.Challenge) { c.Generation = "no such generation" },
		} {
			c := s.opts.Challenge(sent, generation)
			strange(&c)
			if outcome, err := u.Challenge(ctx, s.opts.Request, c); errors.Is(err, context.DeadlineExceeded) {
				r.faultf("Challenge returned %v and %v", outcome, err)
			}
		}
	})
}

func equalHeader(a, b http.Header) bool {
	return len(a) == len(b) && !slices.ContainsFunc(headerNames(a), func(n string) bool { return !slices.Equal(a[n], b[n]) })
}

func headerNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for n := range h {
		names = append(names, n)
	}
	return names
}

// observe: it says what it wants to see, and takes what it gets.
func (s *authSuite[C]) observe(r *report) {
	u := s.use(r, s.opts.Config)
	if !u.observes {
		r.Skip("it does not observe")
	}
	r.within("Observe", func() {
		first := slices.Clone(u.observer.ObservedHeaders())
		if again := u.observer.ObservedHeaders(); !slices.Equal(first, again) {
			r.faultf("ObservedHeaders returned %q, then %q", first, again)
		}
		if len(first) == 0 {
			r.faultf("ObservedHeaders returned no header: it would observe nothing")
		}
		for _, value := range []string{"v", "", strings.Repeat("x", 4<<10), "\xff"} {
			h := http.Header{}
			for _, name := range first {
				h.Set(name, value)
			}
			u.observer.Observe(s.opts.Request.Clone(), auth.Observation{URL: s.opts.Request.Target.URL, Status: 200, Header: h})
		}
	})
}

// failures: they have the type that callers look for, and show no secret.
func (s *authSuite[C]) failures(r *report) {
	if len(s.opts.Failures) == 0 {
		r.Skip("Failures is empty: nothing says which configurations fail")
	}
	for _, f := range s.opts.Failures {
		u, err := s.make(r, f.Config)
		switch {
		case f.Field != "" && err == nil:
			_ = u.Close(context.Background())
			r.faultf("%s: the factory succeeded, and should have refused the field %s", f.Name, f.Field)
		case f.Field != "":
			if !slices.Contains(faulty(err, authField), f.Field) {
				r.faultf("%s: the error holds no *auth.ConfigError of the field %s: %v", f.Name, f.Field, err)
			}
		case err != nil:
			r.faultf("%s: the factory: %v", f.Name, err)
		default:
			r.within("Credentials", func() {
				_, _, err := u.send(context.Background(), s.opts.Request)
				if err == nil || f.Is != nil && !errors.Is(err, f.Is) {
					r.faultf("%s: got the error %v, want %v", f.Name, err, f.Is)
				}
			})
			_ = u.Close(context.Background())
		}
	}
}

// sends is the call that a caller of a provider makes.
func (s *authSuite[C]) sends(u *subject) call {
	return func(ctx context.Context) error {
		_, _, err := u.send(ctx, s.opts.Request)
		return err
	}
}

// cancellation: a call ends soon after its context.
func (s *authSuite[C]) cancellation(r *report) { s.ending(r, context.Canceled) }

// deadline: a call ends soon after its deadline.
func (s *authSuite[C]) deadline(r *report) { s.ending(r, context.DeadlineExceeded) }

func (s *authSuite[C]) ending(r *report, how error) {
	r.ends("Credentials", how, s.sends(s.use(r, s.opts.Config)), false)
	if s.opts.Stalled == nil {
		r.Log("Stalled is nil: that calls under way end with their context is not checked")
		return
	}
	r.ends("Credentials", how, s.sends(s.use(r, *s.opts.Stalled)), true)
}

// alone: the end of one caller is not that of another.
func (s *authSuite[C]) alone(r *report) {
	if s.opts.Stalled == nil {
		r.Skip("Stalled is nil")
	}
	u := s.use(r, *s.opts.Stalled)
	s.suite.alone(r, "Credentials", s.sends(u), s.sends(u))
}

// concurrent: everything, at the same time.
func (s *authSuite[C]) concurrent(r *report) {
	u := s.use(r, s.opts.Config)
	requests := s.requests()
	r.atOnce("a call", func(n int) {
		for i := range rounds {
			s.everything(r, u, requests[(n+i)%len(requests)])
		}
	})
}

// everything is one of each call.
func (s *authSuite[C]) everything(r *report, u *subject, req auth.Request) {
	ctx := context.Background()
	sent, generation, err := u.send(ctx, req)
	if err != nil {
		r.faultf("Credentials of %v among others: %v", req, err)
		return
	}
	if _, err := u.Challenge(ctx, req, s.opts.Challenge(sent, generation)); err != nil && !errors.Is(err, auth.ErrInteractionRequired) {
		r.faultf("Challenge for %v among others: %v", req, err)
	}
	if u.observes {
		h := http.Header{}
		for _, name := range u.observer.ObservedHeaders() {
			h.Set(name, "v")
		}
		u.observer.Observe(req, auth.Observation{URL: req.Target.URL, Status: 200, Header: h})
	}
}

// closing: it ends, also beside calls, and a second time does no harm.
func (s *authSuite[C]) closing(r *report) {
	unused := s.use(r, s.opts.Config)
	if err := unused.Close(context.Background()); err != nil {
		r.faultf("Close of an unused provider: %v", err)
	}
	if r.Failed() {
		return
	}
	used := s.use(r, s.opts.Config)
	r.within("Credentials", func() { _, _, _ = used.send(context.Background(), s.opts.Request) })
	if err := used.Close(context.Background()); err != nil {
		r.faultf("Close: %v", err)
	}
	_ = used.Close(context.Background()) // a host never does; a program might
	r.within("Credentials after Close", func() {
		_, err := used.p.Credentials(context.Background(), s.opts.Request.Clone())
		r.inspectError("Credentials after Close", err)
	})
	past, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.use(r, s.opts.Config).Close(past)
	s.closingBesideCalls(r)
}

func (s *authSuite[C]) closingBesideCalls(r *report) {
	cfg, ctx := s.opts.Config, context.Background()
	if s.opts.Stalled != nil {
		cfg = *s.opts.Stalled
	}
	u := s.use(r, cfg)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var calls []<-chan struct{}
	for range callers {
		calls = append(calls, r.start("Credentials beside Close", func() {
			// That Close cancels it is what the contract allows.
			_, err := u.p.Credentials(ctx, s.opts.Request.Clone())
			r.inspectError("Credentials beside Close", err)
		}))
	}
	short, end := context.WithTimeout(context.Background(), moments[2])
	defer end()
	_ = u.Close(short)
	cancel()
	for _, call := range calls {
		r.wait("Credentials beside Close, whose context was cancelled", call)
	}
}
