package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/sdk/probe"
)

// healthy looks once, and expects a healthy target.
func (s *probeSuite[C]) healthy(r *report, u *prober, t Target, when string) {
	r.Helper()
	r.within("Probe", func() {
		if v, err := u.Probe(context.Background(), newTarget(r, t)); err != nil || v.Status != probe.Healthy {
			r.faultf("Probe of a healthy target%s: %v, %v", when, v, err)
		}
	})
}

// verdict: a target that is healthy is found so, again and again.
func (s *probeSuite[C]) verdict(r *report) {
	u := s.use(r, s.opts.Config)
	for range 3 {
		s.healthy(r, u, s.opts.Target, "")
	}
}

// verdicts: others are found as they are.
func (s *probeSuite[C]) verdicts(r *report) {
	if len(s.opts.Verdicts) == 0 {
		r.Skip("Verdicts is empty: nothing says what is found besides")
	}
	for _, want := range s.opts.Verdicts {
		u := s.use(r, want.Config)
		r.within("Probe", func() {
			if v, err := u.Probe(context.Background(), newTarget(r, want.Target)); err != nil || v.Status != want.Status {
				r.faultf("%s: got %v, %v, want %v", want.Name, v, err, want.Status)
			}
		})
	}
}

// unlisted: what a target does not list is not called, and no reason to condemn it.
func (s *probeSuite[C]) unlisted(r *report) {
	u := s.use(r, s.opts.Config)
	for id, methods := range map[string][]string{"lists-nothing": nil, "lists-others": {"plugintest/other", ""}} {
		t := s.opts.Target
		needs := len(t.About.Methods) > 0
		t.About.ID, t.About.Methods = id, methods
		r.within("Probe", func() {
			if v, err := u.Probe(context.Background(), newTarget(r, t)); err == nil && v.Status == probe.Unhealthy && needs {
				r.faultf("Probe condemned a target that does not list what it calls: %s", v.Reason)
			}
		})
	}
}

// manyCalls is how many a probe may make until its context ends.
const manyCalls = 200

// hostile: nonsense for an answer is no reason to break down, nor to spread it.
func (s *probeSuite[C]) hostile(r *report) {
	u := s.use(r, s.opts.Config)
	answers := map[string]func(n int64) (string, error){
		"nothing":     func(int64) (string, error) { return "", nil },
		"no JSON":     func(int64) (string, error) { return "{" + marker, nil },
		"null":        func(int64) (string, error) { return "null", nil },
		"a text":      func(int64) (string, error) { return `"` + marker + `"`, nil },
		"a list":      func(int64) (string, error) { return "[1e999,[],{}]", nil },
		"great depth": func(int64) (string, error) { return strings.Repeat("[", 100_000), nil },
		"other types": func(int64) (string, error) {
			return `{"isError":"x","content":7,"tools":{},"structuredContent":[]}`, nil
		},
		"1 MiB": func(int64) (string, error) { return `{"content":"` + strings.Repeat("x", 1<<20) + `"}`, nil },
		"a failure": func(int64) (string, error) {
			return `{"isError":true,"content":[{"type":"text","text":"` + marker + `"}]}`, nil
		},
		"an error":    func(int64) (string, error) { return "", &probe.CallError{Code: -1 << 63, Message: marker + poison} },
		"no answer":   func(int64) (string, error) { return "", fmt.Errorf("no route to %s", marker+poison) },
		"its own end": func(int64) (string, error) { return "", fmt.Errorf("its line: %w", context.DeadlineExceeded) },
		"not listed":  func(int64) (string, error) { return "", probe.ErrNotListed },
		"endless pages": func(n int64) (string, error) {
			return fmt.Sprintf(`{"tools":[{"name":"%d"}],"nextCursor":"%d"}`, n, n), nil
		},
		"one page again": func(int64) (string, error) { return `{"tools":[],"nextCursor":"x"}`, nil },
	}
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		ctx, cancel := context.WithCancel(context.Background())
		var calls atomic.Int64
		t := s.opts.Target
		t.About.ID = "hostile " + name + poison
		t.Answer = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
			n := calls.Add(1)
			if n == manyCalls { // pages have no end
				cancel()
			}
			text, err := answers[name](n)
			return json.RawMessage(text), err
		}
		r.within("Probe of a target that answers "+name, func() { _, _ = u.Probe(ctx, newTarget(r, t)) })
		cancel()
		if r.Failed() {
			r.Fatalf("that was a target that answers %s", name)
		}
	}
	s.healthy(r, u, s.opts.Target, " after hostile ones")
}

// late: a prober that has returned leaves its target alone.
func (s *probeSuite[C]) late(r *report) {
	u := s.use(r, s.opts.Config)
	s.healthy(r, u, s.opts.Target, "")
	r.pollFor(s.lull, r.Failed) // for what comes late; whoever comes later is not found out
}

// failures: they have the type that callers look for, and show no secret.
func (s *probeSuite[C]) failures(r *report) {
	if len(s.opts.Failures) == 0 {
		r.Skip("Failures is empty: nothing says which configurations fail")
	}
	for _, f := range s.opts.Failures {
		p, err := s.open.make(r, f.Config)
		if err == nil {
			u := s.prober(r, p)
			r.Cleanup(func() { _ = u.Close(context.Background()) })
			if f.Field != "" {
				r.faultf("%s: the factory succeeded, and should have refused the field %s", f.Name, f.Field)
				continue
			}
			r.within("Probe", func() { _, err = u.Probe(context.Background(), newTarget(r, s.opts.Target)) })
		} else if f.Field == "" {
			r.faultf("%s: the factory: %v", f.Name, err)
			continue
		}
		switch {
		case f.Field != "" && !slices.Contains(faulty(err, probeField), f.Field):
			r.faultf("%s: the error holds no *probe.ConfigError of the field %s: %v", f.Name, f.Field, err)
		case err == nil || f.Is != nil && !errors.Is(err, f.Is):
			r.faultf("%s: got the error %v, want %v", f.Name, err, f.Is)
		}
	}
}

// hanging is a target that answers when the caller has gone.
func (s *probeSuite[C]) hanging() Target {
	t := s.opts.Target
	t.About.ID = "hanging"
	t.Answer = func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return t
}

// waits tells whether a prober waits for its target.
func (s *probeSuite[C]) waits(r *report) bool {
	t := newTarget(r, s.hanging())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	u := s.use(r, s.opts.Config)
	done := r.start("Probe", func() { _, _ = u.Probe(ctx, t) })
	waits := false
	select {
	case <-t.called:
		waits = true
	case <-done:
	}
	cancel()
	r.wait("Probe whose context was cancelled", done)
	return waits
}

// ending: a probe ends soon after its context, whatever it waits for.
func (s *probeSuite[C]) ending(r *report, how error) {
	try := func(what string, u *prober, t Target, stalled bool) {
		for _, after := range moments {
			ctx, cancel := ending(how, after)
			r.within(what+" "+ended(how), func() {
				v, err := u.Probe(ctx, newTarget(r, t))
				if stalled && ctx.Err() == nil && !errors.Is(err, how) { // the plugin's clock may be a little ahead
					r.faultf("Stalled: Probe returned before its context ended: %v, %v", v, err)
				}
			})
			cancel()
			if r.Failed() {
				return
			}
		}
	}
	try("Probe", s.use(r, s.opts.Config), s.opts.Target, false)
	try("Probe of a hanging target", s.use(r, s.opts.Config), s.hanging(), false)
	if s.opts.Stalled != nil {
		try("Probe", s.use(r, *s.opts.Stalled), s.opts.Target, true)
	}
}

// alone: the end of one caller is not that of another.
func (s *probeSuite[C]) alone(r *report) {
	probes := func(u *prober, t Target, id string) call {
		t.About.ID = id
		return func(ctx context.Context) error {
			_, err := u.Probe(ctx, newTarget(r, t))
			return err
		}
	}
	waits := s.waits(r)
	if waits {
		u := s.use(r, s.opts.Config)
		s.suite.alone(r, "Probe", probes(u, s.hanging(), "a"), probes(u, s.hanging(), "b"))
	}
	if s.opts.Stalled != nil {
		u := s.use(r, *s.opts.Stalled)
		s.suite.alone(r, "Probe", probes(u, s.opts.Target, "a"), probes(u, s.opts.Target, "b"))
	} else if !waits {
		r.Skip("Stalled is nil, and it does not wait for its target")
	}
}

// concurrent: targets are told apart, also at the same time.
func (s *probeSuite[C]) concurrent(r *report) {
	u := s.use(r, s.opts.Config)
	broken := s.hanging()
	r.atOnce("Probe", func(n int) {
		for i := range rounds {
			t := s.opts.Target
			t.About.ID = fmt.Sprintf("target-%d", n)
			if n == 0 { // one that hangs is among them
				t = broken
			}
			ctx, cancel := context.WithCancel(context.Background())
			if n == 0 {
				time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
			}
			if v, err := u.Probe(ctx, newTarget(r, t)); n > 0 && (err != nil || v.Status != probe.Healthy) {
				r.faultf("Probe of a healthy target among others: %v, %v", v, err)
			}
			cancel()
		}
	})
}

// closing: a prober that can be closed ends, used or not.
func (s *probeSuite[C]) closing(r *report) {
	unused := s.use(r, s.opts.Config)
	if _, ok := unused.p.(closer); !ok {
		r.Skip("it cannot be closed")
	}
	if err := unused.Close(context.Background()); err != nil {
		r.faultf("Close of an unused prober: %v", err)
	}
	if r.Failed() {
		return
	}
	used := s.use(r, s.opts.Config)
	s.healthy(r, used, s.opts.Target, "")
	if err := used.Close(context.Background()); err != nil {
		r.faultf("Close: %v", err)
	}
	past, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.use(r, s.opts.Config).Close(past)
}

// goroutines: what the prober started ends with it.
func (s *probeSuite[C]) goroutines(r *report) {
	r.leaks(func(r *report) {
		cfgs := []C{s.opts.Config}
		if s.opts.Stalled != nil {
			cfgs = append(cfgs, *s.opts.Stalled)
		}
		for _, cfg := range cfgs {
			u := s.use(r, cfg)
			for _, t := range []Target{s.opts.Target, s.hanging()} {
				ctx, cancel := context.WithTimeout(context.Background(), moments[2])
				r.within("Probe whose deadline passed", func() { _, _ = u.Probe(ctx, newTarget(r, t)) })
				cancel()
			}
			_ = u.Close(context.Background())
		}
	})
}

// printing: a prober that gets into a log shows no secret.
func (s *probeSuite[C]) printing(r *report) {
	u := s.use(r, s.opts.Config)
	r.inspect("a printed prober", printed(u.p))
	s.healthy(r, u, s.opts.Target, "")
	_ = u.Close(context.Background())
	r.inspect("a printed prober, closed", printed(u.p))
}
