package mcpool

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// journal writes the log: changes of state, each once. A server that is away is
// reported when it goes and when it is back, however many calls and attempts there
// are between. What repeats for other reasons (a process that crashes again and again,
// a hook that panics) is limited for each message, and the next line of it says how
// many were left out.
type journal struct {
	log  *slog.Logger // immutable
	name string       // immutable; of the pool

	mu      sync.Mutex
	outages map[string]*outage // guarded by mu; by the name in events
	limits  map[string]*limit  // guarded by mu; by message
}

// outage is a time in which no session could be opened.
type outage struct {
	since    time.Time
	over     time.Time // zero while it lasts
	failures int
}

// limit counts the lines of one message.
type limit struct {
	began time.Time
	lines int
	left  int // out, since the last line
}

// So many lines of a message in so much time.
const (
	maxLines  = 10
	linesTime = time.Minute
)

func newJournal(log *slog.Logger, name string) *journal {
	return &journal{log: log, name: name, outages: make(map[string]*outage), limits: make(map[string]*limit)}
}

// write logs a line about the pool, or about the part of it that pool names.
func (j *journal) write(level slog.Level, message, pool string, attrs ...slog.Attr) {
	if pool == "" {
		pool = j.name
	}
	if !j.log.Enabled(context.Background(), level) {
		return
	}
	left := 0
	if level >= slog.LevelInfo {
		now := time.Now()
		j.mu.Lock()
		l := j.limits[message]
		if l == nil {
			l = &limit{began: now}
			j.limits[message] = l
		}
		if now.Sub(l.began) >= linesTime {
			l.began, l.lines = now, 0
		}
		if l.lines == maxLines {
			l.left++
			j.mu.Unlock()
			return
		}
		l.lines++
		left, l.left = l.left, 0
		j.mu.Unlock()
	}
	attrs = append([]slog.Attr{slog.String("pool", pool)}, attrs...)
	if left > 0 {
		attrs = append(attrs, slog.Int("left_out", left))
	}
	j.log.LogAttrs(context.Background(), level, "mcpool: "+message, attrs...)
}

func cause(err error) slog.Attr { return slog.Any("cause", err) }

// opened logs the first failure to connect after a success, and the next success.
func (j *journal) opened(e core.OpenEnd) {
	now := time.Now()
	j.mu.Lock()
	o := j.outages[e.Pool]
	lasts := o != nil && o.over.IsZero()
	begins, ends := false, false
	var was outage
	switch {
	case e.Err == nil && lasts:
		ends, o.over, was = true, now, *o
	case e.Err == nil:
	case lasts:
		o.failures++
	case o != nil && now.Add(-e.Duration).Before(o.over):
		// It began while the server was away, and comes late.
	default:
		if o == nil && len(j.outages) >= maxWarned { // of identities that have gone since
			clear(j.outages)
		}
		begins, j.outages[e.Pool] = true, &outage{since: now, failures: 1}
	}
	j.mu.Unlock()
	switch {
	case begins:
		j.write(slog.LevelWarn, "cannot connect, and goes on trying", e.Pool, cause(e.Err))
	case ends:
		j.write(slog.LevelInfo, "connected again", e.Pool, slog.Uint64("session", e.ID),
			slog.Duration("after", now.Sub(was.since)), slog.Int("failures", was.failures))
	case e.Err == nil:
		j.write(slog.LevelDebug, "session opened", e.Pool, slog.Uint64("session", e.ID))
	}
}

// closed logs the end of a session, as a warning if it ended by itself. That of one
// that was thrown away because its server had forgotten it was reported with its siblings.
func (j *journal) closed(e core.CloseEnd) {
	attrs := []slog.Attr{slog.Uint64("session", e.ID), slog.String("reason", e.Reason.String()), slog.Duration("age", e.Age)}
	level := slog.LevelDebug
	switch e.Reason { //nolint:exhaustive // the others are ordinary
	case core.ReasonProbe, core.ReasonReset, core.ReasonBroken, core.ReasonRevoked:
		level = slog.LevelWarn
	}
	if e.Cause != nil {
		attrs = append(attrs, cause(e.Cause))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("close_error", e.Err))
	}
	j.write(level, "session closed", e.Pool, attrs...)
}

// hooks are those of core that the log comes from.
func (j *journal) hooks(ended func() bool) core.Hooks {
	return core.Hooks{
		OpenEnd: func(_ context.Context, e core.OpenEnd) {
			if e.Err == nil || !ended() {
				j.opened(e)
			}
		},
		CloseEnd: func(_ context.Context, e core.CloseEnd) { j.closed(e) },
		CircuitOpened: func(e core.CircuitOpened) {
			j.write(slog.LevelWarn, "circuit opened", e.Pool, cause(e.Cause), slog.Time("next", e.Next))
		},
		CircuitClosed: func(e core.CircuitClosed) { j.write(slog.LevelInfo, "circuit closed", e.Pool) },
		Degraded:      func(e core.Degraded) { j.write(slog.LevelWarn, "degraded", e.Pool, cause(e.Cause)) },
		Recovered:     func(e core.Recovered) { j.write(slog.LevelInfo, "recovered", e.Pool) },
		Panicked:      func(e core.Panicked) { j.write(slog.LevelError, "callback panicked", e.Pool, cause(e.Err)) },
		Leaked: func(e core.Leaked) {
			j.write(slog.LevelWarn, "session held long", e.Pool, slog.Uint64("session", e.ID), slog.Duration("held", e.Held))
		},
	}
}
