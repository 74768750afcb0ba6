package plugintest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// export: batches of every type are taken, again and again.
func (s *metricsSuite[C]) export(r *report) {
	u := s.use(r, s.opts.Config)
	r.within("Export", func() {
		ctx := context.Background()
		b := s.ordinary(1)
		for _, again := range []metrics.Batch{b, b, s.ordinary(2), s.ordinary(0)} { // also the same, also less than before
			if _, err := u.Export(ctx, again); err != nil {
				r.faultf("Export: %v", err)
			}
		}
	})
}

// arrival: what Export took arrives, at the latest when the sink was closed.
func (s *metricsSuite[C]) arrival(r *report) {
	if s.opts.Arrived == nil {
		r.Skip("Arrived is nil: nothing says what arrives")
	}
	u := s.use(r, s.opts.Config)
	var names []string
	r.within("Export", func() {
		for range 20 {
			name := s.fresh()
			if s.took(r, u, name) {
				names = append(names, name)
			}
		}
	})
	if err := u.Close(context.Background()); err != nil {
		r.faultf("Close: %v", err)
	}
	s.arrived(r, names)
}

// took exports a metric and tells whether the sink took it.
func (s *metricsSuite[C]) took(r *report, u *sink, name string) bool {
	res, err := u.Export(context.Background(), gauge(name))
	switch {
	case err != nil:
		r.faultf("Export: %v", err)
	case res.Rejected > 0:
		r.faultf("Export rejected a gauge of 1: %s", res.Reason)
	default:
		return true
	}
	return false
}

// arrived waits for what has to arrive.
func (s *metricsSuite[C]) arrived(r *report, names []string) {
	if s.opts.Arrived == nil {
		return
	}
	missing := 0
	for _, name := range names {
		if r.Failed() || !r.poll(func() bool { return s.opts.Arrived(name) }) {
			missing++
			break
		}
	}
	if missing > 0 && !r.Failed() {
		r.faultf("Export took a batch that did not arrive within %v, although the sink was closed", s.patience)
	}
}

// hostile: what makes no sense is taken or refused, and does no harm to what comes next.
func (s *metricsSuite[C]) hostile(r *report) {
	u := s.use(r, s.opts.Config)
	wrong := s.wrong()
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		r.within("Export of "+name, func() { _, _ = u.Export(context.Background(), wrong[name]) })
		if r.Failed() {
			r.Fatalf("that was a batch of %s", name)
		}
	}
	r.within("Export", func() { s.took(r, u, s.fresh()) })
}

// periodic: behind metrics.Periodic, which is where sinks live, everything arrives, and
// a receiver that does not answer holds nobody up.
func (s *metricsSuite[C]) periodic(r *report) {
	run := func(u *sink, timeout time.Duration) (*metrics.Periodic, func() string) {
		last := make(chan string, 1)
		last <- ""
		p, err := metrics.NewPeriodic(metrics.Config{
			Collect: func(time.Time) metrics.Batch {
				name := s.fresh()
				<-last
				last <- name
				return gauge(name)
			},
			Sink: u, Interval: 5 * time.Millisecond, Timeout: timeout, RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond, Queue: 1 << 20,
		})
		if err != nil {
			r.Fatalf("NewPeriodic: %v", err)
		}
		return p, func() string { name := <-last; last <- name; return name }
	}
	p, last := run(s.use(r, s.opts.Config), s.patience)
	if !r.poll(func() bool { return p.Counts().Collected >= 3 }) {
		r.faultf("Periodic did not collect within %v", s.patience)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		r.faultf("closing a Periodic: %v", err)
	}
	if c := p.Counts(); c.Exported != c.Collected || c.Panics > 0 {
		r.faultf("Periodic exported %d of %d batches, with %d panics: %v", c.Exported, c.Collected, c.Panics, p.Err())
	}
	s.arrived(r, []string{last()})
	if s.opts.Stalled == nil || r.Failed() {
		return
	}
	stalled, _ := run(s.use(r, *s.opts.Stalled), moments[2])
	if !r.poll(func() bool { return stalled.Counts().Collected >= 3 }) {
		r.faultf("beside a stalled Export, Periodic did not collect within %v", s.patience)
	}
	r.within("closing a Periodic whose receiver does not answer", func() {
		ctx, cancel := short()
		defer cancel()
		_ = stalled.Close(ctx)
	})
}

// failures: they have the type that callers look for, and show no secret.
func (s *metricsSuite[C]) failures(r *report) {
	if len(s.opts.Failures) == 0 {
		r.Skip("Failures is empty: nothing says which configurations fail")
	}
	for _, f := range s.opts.Failures {
		p, err := s.open.make(r, f.Config)
		if err == nil {
			u := s.sink(r, p)
			r.Cleanup(func() { _ = u.Close(context.Background()) })
			if f.Field != "" {
				r.faultf("%s: the factory succeeded, and should have refused the field %s", f.Name, f.Field)
				continue
			}
			r.within("Export", func() { _, err = u.Export(context.Background(), gauge(s.fresh())) })
			if err != nil && errors.Is(err, metrics.ErrPermanent) != f.Permanent {
				r.faultf("%s: that the error is metrics.ErrPermanent is %v, want %v: %v", f.Name, !f.Permanent, f.Permanent, err)
			}
		} else if f.Field == "" {
			r.faultf("%s: the factory: %v", f.Name, err)
			continue
		}
		switch {
		case f.Field != "" && !slices.Contains(faulty(err, metricsField), f.Field):
			r.faultf("%s: the error holds no *metrics.ConfigError of the field %s: %v", f.Name, f.Field, err)
		case err == nil || f.Is != nil && !errors.Is(err, f.Is):
			r.faultf("%s: got the error %v, want %v", f.Name, err, f.Is)
		}
	}
}

// exports is the call that a Periodic makes.
func (s *metricsSuite[C]) exports(u *sink) call {
	return func(ctx context.Context) error {
		_, err := u.Export(ctx, gauge(s.fresh()))
		return err
	}
}

// ending: an export ends soon after its context.
func (s *metricsSuite[C]) ending(r *report, how error) {
	r.ends("Export", how, s.exports(s.use(r, s.opts.Config)), false)
	if s.opts.Stalled == nil {
		r.Log("Stalled is nil: that exports under way end with their context is not checked")
		return
	}
	r.ends("Export", how, s.exports(s.use(r, *s.opts.Stalled)), true)
}

// concurrent: sinks of one factory know nothing of each other.
func (s *metricsSuite[C]) concurrent(r *report) {
	var sinks [callers]*sink
	for n := range sinks {
		sinks[n] = s.use(r, s.opts.Config)
	}
	r.atOnce("Export", func(n int) {
		for i := range rounds {
			if _, err := sinks[n].Export(context.Background(), s.ordinary(i)); err != nil {
				r.faultf("Export of a sink among others: %v", err)
			}
		}
		if err := sinks[n].Close(context.Background()); err != nil {
			r.faultf("Close of a sink among others: %v", err)
		}
	})
}

// closing: it ends, used or not, and in time.
func (s *metricsSuite[C]) closing(r *report) {
	if err := s.use(r, s.opts.Config).Close(context.Background()); err != nil {
		r.faultf("Close of an unused sink: %v", err)
	}
	if r.Failed() {
		return
	}
	used := s.use(r, s.opts.Config)
	r.within("Export", func() { _, _ = used.Export(context.Background(), s.ordinary(1)) })
	if err := used.Close(context.Background()); err != nil {
		r.faultf("Close: %v", err)
	}
	past, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.use(r, s.opts.Config).Close(past)
	if s.opts.Stalled == nil {
		return
	}
	stalled := s.use(r, *s.opts.Stalled)
	r.within("Export whose deadline passed", func() {
		ctx, cancel := context.WithTimeout(context.Background(), moments[2])
		defer cancel()
		_, _ = stalled.Export(ctx, s.ordinary(1))
	})
	ctx, end := short()
	defer end()
	_ = stalled.Close(ctx)
}

// goroutines: what the sink started ends with it.
func (s *metricsSuite[C]) goroutines(r *report) {
	r.leaks(func(r *report) {
		u := s.use(r, s.opts.Config)
		r.within("Export", func() { _, _ = u.Export(context.Background(), s.ordinary(1)) })
		_ = u.Close(context.Background())
		if s.opts.Stalled == nil {
			return
		}
		u = s.use(r, *s.opts.Stalled)
		ctx, cancel := context.WithTimeout(context.Background(), moments[2])
		defer cancel()
		r.within("Export whose deadline passed", func() { _, _ = u.Export(ctx, s.ordinary(1)) })
		_ = u.Close(ctx)
	})
}

// printing: a sink that gets into a log shows no secret.
func (s *metricsSuite[C]) printing(r *report) {
	u := s.use(r, s.opts.Config)
	r.inspect("a printed sink", printed(u.p))
	r.within("Export", func() { _, _ = u.Export(context.Background(), s.ordinary(1)) })
	_ = u.Close(context.Background())
	r.inspect("a printed sink, closed", printed(u.p))
}
