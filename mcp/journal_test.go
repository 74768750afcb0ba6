package mcpool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// logged is a handler that keeps what is logged.
type logged struct {
	mu    sync.Mutex
	lines []logLine
}

type logLine struct {
	level   slog.Level
	message string
	attrs   map[string]slog.Value
}

func (*logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	line := logLine{r.Level, r.Message, make(map[string]slog.Value)}
	r.Attrs(func(a slog.Attr) bool {
		line.attrs[a.Key] = a.Value
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

func (l *logged) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logged) WithGroup(string) slog.Handler      { return l }

// byMessage are the lines of at least a level.
func (l *logged) byMessage(level slog.Level) map[string][]logLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string][]logLine)
	for _, line := range l.lines {
		if line.level >= level {
			all[line.message] = append(all[line.message], line)
		}
	}
	return all
}

func TestADeadServerLogsItsDeathAndNotEveryCall(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s, log := newServer(t, e), new(logged)
		p, err := Open(t.Context(), Config{
			Name: "dead", Endpoint: s.url(), Min: 2, Max: 4, CallsPerSession: 2, Logger: slog.New(log),
			RestartGrace: 50 * time.Millisecond, RetryMin: time.Millisecond, RetryMax: time.Millisecond,
			CircuitMin: 20 * time.Millisecond, CircuitMax: 50 * time.Millisecond, NoListener: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		if _, err := p.Call(t.Context(), "echo", nil); err != nil {
			t.Fatal(err)
		}
		s.kill()
		var callers sync.WaitGroup
		var failed [16]int
		for i := range failed {
			callers.Go(func() {
				for failed[i] < 50 && t.Context().Err() == nil {
					if _, err := p.Call(t.Context(), "echo", nil); err != nil {
						failed[i]++
					}
				}
			})
		}
		callers.Wait()
		s.start()
		s.poll("a call on the server that is back", func() bool {
			_, err := p.Call(t.Context(), "echo", nil)
			return err == nil
		})

		lines := log.byMessage(slog.LevelInfo)
		total := 0
		for message, of := range lines {
			total += len(of)
			for _, line := range of {
				if line.attrs["pool"].String() != "dead" {
					t.Errorf("%s: pool %v", message, line.attrs["pool"])
				}
				if line.level == slog.LevelWarn && line.attrs["cause"].Any() == nil {
					t.Errorf("%s has no cause: %v", message, line.attrs)
				}
			}
		}
		if total == 0 || total > 40 {
			t.Errorf("%d lines for a death and 800 calls that failed", total)
		}
		// Of an opening that was under way when the server went, the end may be noticed
		// long afterwards: it is no sign that the server is back.
		gone, back := len(lines["mcpool: no answer, calls wait for it to come back"]), len(lines["mcpool: answers again"])
		if gone != 1 || back != 1 {
			t.Errorf("%d lines that there is no answer, %d that there is again", gone, back)
		}
		if down, up := len(lines["mcpool: cannot connect, and goes on trying"]), len(lines["mcpool: connected again"]); down > 3 || up > down {
			t.Errorf("%d lines that it cannot connect, %d that it can again", down, up)
		}
		if t.Failed() {
			for message, of := range lines {
				t.Logf("%d × %s", len(of), message)
			}
		}
	})
}

func TestAnAnswerToWhatBeganBeforeTheSilenceDoesNotEndIt(t *testing.T) {
	t.Parallel()
	log := new(logged)
	p := openPool(t, Config{Transport: InMemory(memoryServer()), Logger: slog.New(log), RestartGrace: time.Minute})
	back := func() int { return len(log.byMessage(slog.LevelInfo)["mcpool: answers again"]) }
	before := p.downSince.Load()
	w := newPatience(t.Context(), p)
	if !w.wait(errors.New("no answer")) {
		t.Fatal("it does not wait")
	}
	p.alive(before)
	if back() != 0 || p.downSince.Load() == 0 {
		t.Error("the server counts as back")
	}
	if _, err := p.ListTools(t.Context()); err != nil {
		t.Fatal(err)
	}
	if back() != 1 || p.downSince.Load() != 0 {
		t.Errorf("it has answered, and the server counts as away; told %d times", back())
	}
}

func TestAMessageThatRepeatsIsLimitedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logged)
		j := newJournal(slog.New(log), "p")
		for range 100 {
			j.write(slog.LevelWarn, "again", "")
			j.write(slog.LevelDebug, "detail", "")
		}
		j.write(slog.LevelWarn, "other", "p/x")
		time.Sleep(linesTime)
		j.write(slog.LevelWarn, "again", "")
		lines := log.byMessage(slog.LevelDebug)
		again := lines["mcpool: again"]
		if len(again) != maxLines+1 || again[maxLines].attrs["left_out"].Int64() != 90 {
			t.Errorf("%d lines, the last with %v", len(again), again[len(again)-1].attrs)
		}
		if len(lines["mcpool: other"]) != 1 || lines["mcpool: other"][0].attrs["pool"].String() != "p/x" || len(lines["mcpool: detail"]) != 100 {
			t.Error("the limit of one message is that of others")
		}
	})
}

func TestAnOutageHasTwoLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logged)
		j := newJournal(slog.New(log), "p")
		j.opened(core.OpenEnd{Pool: "p", ID: 1})
		for i := range 30 {
			j.opened(core.OpenEnd{Pool: "p", Err: fmt.Errorf("refused %d", i)})
			j.opened(core.OpenEnd{Pool: "p/other", ID: 5}) // another identity gets through
			time.Sleep(time.Second)
		}
		j.opened(core.OpenEnd{Pool: "p", ID: 2})
		time.Sleep(time.Second)
		j.opened(core.OpenEnd{Pool: "p", Err: errors.New("late"), Duration: 2 * time.Second}) // it began before
		j.opened(core.OpenEnd{Pool: "p", ID: 3})
		lines := log.byMessage(slog.LevelInfo)
		down, up := lines["mcpool: cannot connect, and goes on trying"], lines["mcpool: connected again"]
		if len(down) != 1 || down[0].attrs["cause"].String() != "refused 0" {
			t.Errorf("down: %v", down)
		}
		if len(up) != 1 || up[0].attrs["session"].Uint64() != 2 || up[0].attrs["failures"].Int64() != 30 || up[0].attrs["after"].Duration() != 30*time.Second {
			t.Errorf("up: %v", up)
		}
		if len(lines) != 2 {
			t.Errorf("lines %v", lines)
		}
		time.Sleep(time.Second)
		j.opened(core.OpenEnd{Pool: "p", Err: errors.New("again"), Duration: time.Millisecond})
		if down := log.byMessage(slog.LevelWarn)["mcpool: cannot connect, and goes on trying"]; len(down) != 2 {
			t.Errorf("the next outage: %v", down)
		}
	})
}

func TestSessionsThatEndByThemselvesAreWarnedOf(t *testing.T) {
	t.Parallel()
	log := new(logged)
	j := newJournal(slog.New(log), "p")
	for _, r := range core.CloseReasons() {
		j.closed(core.CloseEnd{Pool: "p", ID: uint64(r), Reason: r, Cause: errors.New("why")})
	}
	for _, line := range log.byMessage(slog.LevelDebug)["mcpool: session closed"] {
		want := slog.LevelDebug
		switch line.attrs["reason"].String() {
		case "probe_failed", "reset_failed", "broken", "revoked":
			want = slog.LevelWarn
		}
		if line.level != want || line.attrs["session"].Uint64() == 0 || line.attrs["cause"].String() != "why" {
			t.Errorf("%v at %v", line.attrs, line.level)
		}
	}
	if n := len(log.byMessage(slog.LevelWarn)["mcpool: session closed"]); n != 4 {
		t.Errorf("%d warnings", n)
	}
}

// Whoever watches the hooks learns why sessions went, and not only that others came.
func TestSessionsThatTheServerForgotEndWithTheCause(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	ends := make(chan core.CloseEnd, 100)
	p, err := Open(t.Context(), Config{
		Endpoint: s.url(), Min: 2, NoListener: true, Logger: slog.New(slog.DiscardHandler),
		Hooks: Hooks{Core: core.Hooks{CloseEnd: func(_ context.Context, e core.CloseEnd) { ends <- e }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	if _, err := p.Call(t.Context(), "echo", nil); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.start()
	s.poll("a call on the server that is back", func() bool {
		_, err := p.Call(t.Context(), "echo", nil)
		return err == nil
	})
	for late := time.After(patient); ; {
		select {
		case e := <-ends:
			if e.Reason != core.ReasonEvicted {
				continue
			}
			if e.Cause == nil {
				t.Error("a session was evicted without a cause")
			}
			return
		case <-late:
			t.Fatal("no session was evicted")
		}
	}
}

func TestEachChangeOfStateIsOneLineAtItsLevelWithItsCause(t *testing.T) {
	t.Parallel()
	why := errors.New("why")
	panicked := &core.PanicError{Value: "boom"}
	for message, test := range map[string]struct {
		fire    func(h core.Hooks)
		level   slog.Level
		session uint64
		cause   error
	}{
		"circuit opened":    {func(h core.Hooks) { h.CircuitOpened(core.CircuitOpened{Pool: "p/x", Cause: why}) }, slog.LevelWarn, 0, why},
		"circuit closed":    {func(h core.Hooks) { h.CircuitClosed(core.CircuitClosed{Pool: "p/x"}) }, slog.LevelInfo, 0, nil},
		"degraded":          {func(h core.Hooks) { h.Degraded(core.Degraded{Pool: "p/x", Cause: why}) }, slog.LevelWarn, 0, why},
		"recovered":         {func(h core.Hooks) { h.Recovered(core.Recovered{Pool: "p/x"}) }, slog.LevelInfo, 0, nil},
		"callback panicked": {func(h core.Hooks) { h.Panicked(core.Panicked{Pool: "p/x", Err: panicked}) }, slog.LevelError, 0, panicked},
		"session held long": {func(h core.Hooks) { h.Leaked(core.Leaked{Pool: "p/x", ID: 7, Held: time.Hour}) }, slog.LevelWarn, 7, nil},
		"session opened":    {func(h core.Hooks) { h.OpenEnd(t.Context(), core.OpenEnd{Pool: "p/x", ID: 7}) }, slog.LevelDebug, 7, nil},
		"session closed": {
			func(h core.Hooks) {
				h.CloseEnd(t.Context(), core.CloseEnd{Pool: "p/x", ID: 7, Reason: core.ReasonBroken, Cause: why})
			},
			slog.LevelWarn, 7, why,
		},
		"cannot connect, and goes on trying": {
			func(h core.Hooks) { h.OpenEnd(t.Context(), core.OpenEnd{Pool: "p/x", Err: why}) }, slog.LevelWarn, 0, why,
		},
	} {
		log := new(logged)
		test.fire(newJournal(slog.New(log), "p").hooks(func() bool { return false }))
		lines := log.byMessage(slog.LevelDebug)
		of := lines["mcpool: "+message]
		if len(lines) != 1 || len(of) != 1 {
			t.Errorf("%s: %v, want one line", message, lines)
			continue
		}
		session := uint64(0)
		if v, ok := of[0].attrs["session"]; ok {
			session = v.Uint64()
		}
		var cause error
		if v, ok := of[0].attrs["cause"]; ok {
			cause, _ = v.Any().(error)
		}
		if of[0].level != test.level || of[0].attrs["pool"].String() != "p/x" || session != test.session || !errors.Is(cause, test.cause) {
			t.Errorf("%s: %v at %v, want session %d and cause %v at %v", message, of[0].attrs, of[0].level, test.session, test.cause, test.level)
		}
	}
	log := new(logged)
	h := newJournal(slog.New(log), "p").hooks(func() bool { return true })
	h.OpenEnd(t.Context(), core.OpenEnd{Pool: "p", Err: why})
	if lines := log.byMessage(slog.LevelDebug); len(lines) != 0 {
		t.Errorf("that opens end with the pool is logged: %v", lines)
	}
}
