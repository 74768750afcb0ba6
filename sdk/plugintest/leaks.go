package plugintest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync/atomic"
)

// leaks: what a plugin started ends with it. Goroutines inherit the profiler's
// labels of the one that started them, which tells those of this check from others.
// What is started once for all, by a library, is there from the first round on.
func (r *report) leaks(lives func(*report)) {
	for round := range 2 {
		label := fmt.Sprintf("%d-%d", leakRuns.Add(1), round)
		pprof.Do(context.Background(), pprof.Labels(leakLabel, label), func(context.Context) { lives(r) })
		if round == 0 {
			continue
		}
		var left string
		back := func() bool {
			if t, ok := http.DefaultTransport.(*http.Transport); ok {
				t.CloseIdleConnections() // belongs to the program
			}
			left = labelled(label)
			return left == ""
		}
		if !r.poll(back) {
			r.faultf("goroutines that the plugin started are still there after Close:\n%s", left)
		}
	}
}

const leakLabel = "plugintest"

var leakRuns atomic.Int64 //nolint:gochecknoglobals // tells the runs of a process apart

// goroutines: what the provider started ends with it.
func (s *authSuite[C]) goroutines(r *report) { r.leaks(s.lives) }

// lives has providers live and end.
func (s *authSuite[C]) lives(r *report) {
	u := s.use(r, s.opts.Config)
	r.within("calls", func() { s.everything(r, u, s.opts.Request) })
	_ = u.Close(context.Background())
	if s.opts.Stalled == nil {
		return
	}
	u = s.use(r, *s.opts.Stalled)
	ctx, cancel := context.WithTimeout(context.Background(), moments[2])
	defer cancel()
	r.within("Credentials whose deadline passed", func() { _, _, _ = u.send(ctx, s.opts.Request) })
	_ = u.Close(ctx) // which may wait for what is under way until its context ends
}

// labelled returns the stacks of the goroutines with the label.
func labelled(label string) string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return ""
	}
	var found []string
	for stack := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(stack, fmt.Sprintf("%q:%q", leakLabel, label)) {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}

// printing: a provider that gets into a log shows no secret.
func (s *authSuite[C]) printing(r *report) {
	u := s.use(r, s.opts.Config)
	r.inspect("a printed provider", printed(u.p))
	r.within("Credentials", func() { _, _, _ = u.send(context.Background(), s.opts.Request) })
	_ = u.Close(context.Background())
	r.inspect("a printed provider, closed", printed(u.p))
}
