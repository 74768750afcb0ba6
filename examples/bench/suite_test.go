package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

func TestRoundsInterleaveInRotatedOrder(t *testing.T) {
	t.Parallel()
	var order []string
	c := benchCase{name: "c", goroutines: 1}
	for _, name := range []string{"x", "y", "z"} {
		c.impls = append(c.impls, impl{name: name, open: func() (*fixture, error) {
			order = append(order, name)
			return fixtureOf(func(n int) error { spin(n); return nil }), nil
		}})
	}
	s := suite{name: "s", cases: []benchCase{c}}
	res, err := s.run(4, time.Millisecond, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"x", "y", "z", "y", "z", "x", "z", "x", "y", "x", "y", "z"}
	if !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	for _, sr := range res.series {
		if len(sr.ns) != 4 || len(sr.allocs) != 4 || len(sr.bytes) != 4 || len(sr.fairness) != 0 {
			t.Errorf("%s has %d samples, want 4, and none of fairness", sr.impl, len(sr.ns))
		}
	}
}

func TestEveryTargetNamesWhatIsMeasured(t *testing.T) {
	t.Parallel()
	for _, mk := range suites {
		s := mk()
		r := newResults(s.name, 1, s.cases)
		values := make(map[string]float64)
		for _, t := range s.targets {
			values[t.valueName] = 1
		}
		for _, sr := range r.series {
			if r.find(sr.kase, sr.impl) != sr {
				t.Errorf("%s: %s of %s is there twice", s.name, sr.impl, sr.kase)
			}
			r.add(sr.kase, sr.impl, sample{ns: 1, values: values})
		}
		for _, v := range r.judge(s.targets) {
			if !v.measured {
				t.Errorf("%s: nothing is measured for %s, %s", s.name, v.kase, v.label())
			}
		}
	}
}

func TestPeersLendAndCount(t *testing.T) {
	t.Parallel()
	const size = 4
	for _, o := range openers() {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			p, err := openWarm(o, size)
			if err != nil {
				t.Fatal(err)
			}
			release, err := p.hold(t.Context(), size)
			if err != nil {
				t.Fatal(err)
			}
			wantStats(t, p, size, size)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := p.cycle(ended, 1, false); err == nil {
				t.Error("lent one more than it has")
			}
			release()
			for _, yield := range []bool{false, true} {
				if err := p.cycle(t.Context(), 10, yield); err != nil {
					t.Error(err)
				}
			}
			wantStats(t, p, size, 0)
			if err := p.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func wantStats(t *testing.T, p peer, live, leased int) {
	t.Helper()
	if c, ok := p.(counter); ok {
		if err := checkStats(c, 2, live, leased); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryCaseRuns(t *testing.T) { //nolint:tparallel // each case has the machine to itself
	t.Parallel()
	for _, mk := range suites {
		for _, c := range mk().cases {
			for _, im := range c.impls {
				t.Run(c.name+"/"+im.name, func(t *testing.T) {
					if _, err := c.measure(im, time.Millisecond); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// The share follows from doomTime and the way goroutines queue, so it has to be
// seen: half of the acquires have a context that ends, and nearly all of those
// should see it end. On a busy machine the line is shorter.
func TestHalfOfTheWaitersGiveUp(t *testing.T) {
	t.Parallel()
	p, err := openWarm(opener{"channel", openChannel}, 8)
	if err != nil {
		t.Fatal(err)
	}
	d := newDoom()
	fx := cancelling(p, d)
	c := benchCase{goroutines: 64, stepwise: true}
	if _, err := c.measure(open(fx), 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	gaveUp, leased := d.gaveUp.Load(), d.leases.Load()
	if share := float64(gaveUp) / float64(gaveUp+leased); share < 0.2 || share > 0.6 {
		t.Errorf("%d gave up, %d got a lease: a share of %.2f, want about a half", gaveUp, leased, share)
	}
}

func TestAFailureThatIsNotAnEndedContextFailsTheCancelCase(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	c := &canceller{p: brokenPeer{boom}, doom: newDoom(), ctx: t.Context()}
	if err := c.run(1); !errors.Is(err, boom) {
		t.Errorf("error = %v, want boom", err)
	}
}

type brokenPeer struct{ err error }

func (p brokenPeer) cycle(context.Context, int, bool) error    { return p.err }
func (p brokenPeer) hold(context.Context, int) (func(), error) { return nil, p.err }
func (p brokenPeer) close() error                              { return nil }
