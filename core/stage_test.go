package core

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	errDown   = errors.New("the peer is down")
	errBroken = errors.New("the resource is broken")
)

// part is a resource that does nothing.
type part struct {
	id     int
	stage  *stage
	opened time.Duration // on the stage's clock
}

func (p *part) Close() error { return nil }

// noContext is what a careless caller passes.
var noContext context.Context

// cmpErrors compares errors as errors.Is does.
var cmpErrors = cmp.Comparer(errors.Is)

// stage is a pool in a bubble of fake time. It writes down when things happened,
// and at the end of its test it closes the pool and sees to it that the books
// balance.
type stage struct {
	*Pool[*part]
	t     *testing.T
	start time.Time

	mu     sync.Mutex
	opens  []time.Duration // when Open was called
	closes []closing       // when Close was called
	ended  map[*part]int   // how often each part was closed
	made   int             // parts that Open returned
	alive  int
	most   int  // parts ever alive at once
	lapse  bool // the test leaves something for Close to complain of
}

// journal is what hooks said, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

type closing struct {
	at   time.Duration
	part *part
}

// bubble runs a test in fake time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// setStage makes a pool. open, which may be nil, decides what becomes of the nth
// call of Open, counted from 1. A Close in cfg is called after the note is taken.
func setStage(t *testing.T, cfg Config[*part], open func(ctx context.Context, n int) error) *stage {
	t.Helper()
	s := &stage{t: t, start: time.Now(), ended: make(map[*part]int)}
	cfg.Open = func(ctx context.Context) (*part, error) {
		s.mu.Lock()
		s.opens = append(s.opens, s.at())
		n := len(s.opens)
		s.mu.Unlock()
		if open != nil {
			if err := open(ctx, n); err != nil {
				return nil, err
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.made++
		s.alive++
		s.most = max(s.most, s.alive)
		return &part{id: n, stage: s, opened: s.at()}, nil
	}
	closeIt := cfg.Close
	cfg.Close = func(ctx context.Context, p *part) error {
		s.mu.Lock()
		s.closes = append(s.closes, closing{s.at(), p})
		s.ended[p]++
		s.alive--
		s.mu.Unlock()
		if closeIt != nil {
			return closeIt(ctx, p)
		}
		return nil
	}
	pool, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Pool = pool
	t.Cleanup(s.strike)
	return s
}

// strike closes the pool and balances the books.
func (s *stage) strike() {
	s.t.Helper()
	if err := s.Close(s.t.Context()); err != nil && !s.lapse { // the test's context has ended by now
		s.t.Errorf("Close: %v", err)
	}
	time.Sleep(time.Hour) // what was abandoned comes back
	stats := s.Stats()
	if stats.Opened-stats.Closed-stats.Detached != 0 || stats.Live+stats.Opening+stats.Closing+stats.Leased != 0 {
		s.t.Errorf("after Close something is left: %+v", stats)
	}
	if ledger := s.hub.ledger.Stat(); ledger.TotalResources() != 0 {
		s.t.Errorf("puddle still counts %d resources", ledger.TotalResources())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ended) != s.made-int(stats.Detached) {
		s.t.Errorf("%d of %d resources were closed", len(s.ended), s.made)
	}
	for p, n := range s.ended {
		if n != 1 {
			s.t.Errorf("resource %d was closed %d times", p.id, n)
		}
	}
}

// at is how long the stage has been up.
func (s *stage) at() time.Duration { return time.Since(s.start) }

// until lets time pass to a moment on the stage's clock, and everything happen
// that is due by then.
func (s *stage) until(at time.Duration) {
	time.Sleep(at - s.at())
	synctest.Wait()
}

// pass lets time pass.
func (s *stage) pass(d time.Duration) { s.until(s.at() + d) }

// starts returns when Open was called, so far.
func (s *stage) starts() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Duration(nil), s.opens...)
}

// ends returns which parts were closed when, so far.
func (s *stage) ends() []closing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]closing(nil), s.closes...)
}

func (s *stage) peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// lease acquires, and fails the test if that fails.
func (s *stage) lease() Lease[*part] {
	s.t.Helper()
	l, err := s.Acquire(context.Background())
	if err != nil {
		s.t.Fatalf("Acquire: %v", err)
	}
	return l
}

// leases acquires n times.
func (s *stage) leases(n int) []Lease[*part] {
	s.t.Helper()
	var ls []Lease[*part]
	for range n {
		ls = append(ls, s.lease())
	}
	return ls
}

// claim is an Acquire under way. Read the rest when it is done.
type claim struct {
	back  chan struct{}
	lease Lease[*part]
	err   error
	at    time.Duration // when it came back
}

// claim acquires on a goroutine of its own, and waits until that has come back or
// stands in line.
func (s *stage) claim(ctx context.Context) *claim {
	c := &claim{back: make(chan struct{})}
	go func() {
		defer close(c.back)
		c.lease, c.err = s.Acquire(ctx)
		c.at = s.at()
	}()
	synctest.Wait()
	return c
}

// done tells whether the Acquire has come back.
func (c *claim) done() bool {
	select {
	case <-c.back:
		return true
	default:
		return false
	}
}

// failed returns the error it came back with, fatal for the test if there is none.
func (c *claim) failed(t *testing.T) error {
	t.Helper()
	if !c.done() {
		t.Fatal("it still waits")
	}
	if c.err == nil {
		t.Fatal("it got a lease")
	}
	return c.err
}

// got returns the lease it came back with, fatal for the test if there is none.
func (c *claim) got(t *testing.T) Lease[*part] {
	t.Helper()
	if !c.done() {
		t.Fatal("it still waits")
	}
	if c.err != nil {
		t.Fatalf("it failed: %v", c.err)
	}
	return c.lease
}

// pause waits for d, as a callback that minds its context does.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// within is a context that ends after d, cancelled with the test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// same fails the test unless got is want.
func same(t *testing.T, what string, got, want any, opts ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// between fails the test unless got lies between low and high, both included.
func between(t *testing.T, what string, got, low, high time.Duration) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s is %v, not between %v and %v", what, got, low, high)
	}
}

// is fails the test unless err is target.
func is(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error %v is not %v", err, target)
	}
}

// as returns err as an E, and fails the test if it is none.
func as[E error](t *testing.T, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("error %v (%T) is not a %T", err, err, e)
	}
	return e
}
