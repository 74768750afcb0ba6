package debug

import (
	"strings"
	"sync"
	"time"
	"unicode"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// Point is what the pool was doing at one time. Rates are over the time since the
// point before.
type Point struct {
	Time     time.Time `json:"time"`
	Sessions int       `json:"sessions"`
	Active   int       `json:"active"`
	Leases   int       `json:"leases"`
	Waiting  int       `json:"waiting"`
	Calls    float64   `json:"calls_per_second"`
	Errors   float64   `json:"call_errors_per_second"`
	WaitMean float64   `json:"wait_mean_seconds"` // of those that waited
	WaitMax  float64   `json:"wait_max_seconds"`
}

func newPoint(now time.Time, s, before mcpool.Stats, since, waitMax time.Duration) Point {
	a, b := s.Sessions, before.Sessions
	p := Point{
		Time: now, Sessions: a.Live, Active: a.Live - a.Idle, Leases: a.Leased, Waiting: a.Waiting, WaitMax: waitMax.Seconds(),
	}
	if since > 0 {
		p.Calls = float64(s.Calls-before.Calls) / since.Seconds()
		p.Errors = float64(s.CallErrors-before.CallErrors) / since.Seconds()
	}
	if n := a.Waits - b.Waits; n > 0 {
		p.WaitMean = (a.WaitTime - b.WaitTime).Seconds() / float64(n)
	}
	return p
}

// Level says how bad an event is.
type Level string

// The levels.
const (
	Good Level = "good"
	Info Level = "info"
	Warn Level = "warn"
	Bad  Level = "bad"
)

// Event is something that happened, once or several times.
type Event struct {
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Count   int       `json:"count"`
	Level   Level     `json:"level"`
	What    string    `json:"what"`
	Pool    string    `json:"pool"`
	Session uint64    `json:"session,omitempty"` // the last one it happened to
	Cause   string    `json:"cause,omitempty"`
}

// same tells whether two events differ in time and session alone.
func (e *Event) same(o *Event) bool {
	return e.What == o.What && e.Cause == o.Cause && e.Pool == o.Pool && e.Level == o.Level
}

// events are the latest, the newest last. One that repeats one of the last few is
// counted there, so that a flood of one kind does not wash the others away. What is
// no fault does so only within a moment: that sessions were opened, then closed, and
// opened again is what happened, and not two events.
type events struct {
	room int
	all  []Event
}

const (
	lookBack = 8
	moment   = time.Second
)

func (l *events) add(e Event) {
	for i := len(l.all) - 1; i >= 0 && i >= len(l.all)-lookBack; i-- {
		fault := e.Level == Warn || e.Level == Bad
		if l.all[i].same(&e) && (fault || i == len(l.all)-1 || e.Last.Sub(l.all[i].Last) < moment) {
			e.First, e.Count = l.all[i].First, l.all[i].Count+1
			l.all = append(append(l.all[:i], l.all[i+1:]...), e)
			return
		}
	}
	e.Count = 1
	if len(l.all) == l.room {
		l.all = append(l.all[:0], l.all[1:]...)
	}
	l.all = append(l.all, e)
}

// newestFirst returns a copy.
func (l *events) newestFirst() []Event {
	out := make([]Event, 0, len(l.all))
	for i := range l.all {
		out = append(out, l.all[len(l.all)-1-i])
	}
	return out
}

// records are what the page remembers.
type records struct {
	cfg Config

	mu       sync.Mutex
	points   []Point         // guarded by mu; the newest last
	changes  events          // guarded by mu
	failures events          // guarded by mu; of calls
	calls    map[string]*lap // guarded by mu; by what was called
	order    []string        // guarded by mu; the keys of calls
}

func newRecords(cfg Config) *records {
	return &records{cfg: cfg, changes: events{room: cfg.Events}, failures: events{room: cfg.Events}, calls: make(map[string]*lap)}
}

func (r *records) addPoint(p Point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.points) == r.cfg.Points {
		r.points = append(r.points[:0], r.points[1:]...)
	}
	r.points = append(r.points, p)
}

// change records what happened to the pool.
func (r *records) change(level Level, what, pool string, session uint64, cause error) {
	e := newEvent(level, what, pool, session, cause)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes.add(e)
}

// other stands for what has no row of its own.
const other = "_other"

// call records the end of a call.
func (r *records) call(e mcpool.CallEnd) {
	name := e.Method
	if e.Tool != "" {
		if name = other; e.Listed {
			name = clip(e.Tool, 100)
		}
	}
	var failure Event
	if e.Err != nil {
		failure = newEvent(Warn, name, e.Pool, 0, e.Err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.calls[name]
	if l == nil && len(r.order) >= r.cfg.Tools {
		name = other
		l = r.calls[name]
	}
	if l == nil {
		l = new(lap)
		r.calls[name], r.order = l, append(r.order, name)
	}
	l.add(e.Duration, e.Err != nil, e.ToolFailed)
	if e.Err != nil {
		r.failures.add(failure)
	}
}

func newEvent(level Level, what, pool string, session uint64, cause error) Event {
	now := time.Now()
	e := Event{First: now, Last: now, Level: level, What: what, Pool: clip(pool, 100), Session: session}
	if cause != nil {
		e.Cause = clip(cause.Error(), 300)
	}
	return e
}

// clip makes text of others fit to be shown: valid, without characters that change
// how those around them look, and no longer than n.
func clip(s string, n int) string {
	long := false
	if limit := 4 * n; len(s) > limit { // runes have at most four bytes
		s, long = s[:limit], true
	}
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsGraphic(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if runes := []rune(s); len(runes) > n {
		s, long = string(runes[:n]), true
	}
	if long {
		s += "…"
	}
	return s
}
