package plugintest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder is a test that writes down what it is told.
type recorder struct {
	testing.TB

	mu       sync.Mutex
	lines    []string // guarded by mu
	failed   bool     // guarded by mu
	skipped  bool     // guarded by mu
	cleanups []func() // guarded by mu
}

// record runs the checks of that name and returns what they said.
func record(t *testing.T, checks []check, name string) *recorder {
	t.Helper()
	i := slices.IndexFunc(checks, func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no check %s", name)
	}
	rec := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // which Fatal ends
		defer close(done)
		defer rec.cleanUp()
		checks[i].run(rec)
	}()
	<-done
	return rec
}

func (r *recorder) cleanUp() {
	for {
		r.mu.Lock()
		if len(r.cleanups) == 0 {
			r.mu.Unlock()
			return
		}
		last := r.cleanups[len(r.cleanups)-1]
		r.cleanups = r.cleanups[:len(r.cleanups)-1]
		r.mu.Unlock()
		last()
	}
}

func (r *recorder) say(failed bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, text)
	r.failed = r.failed || failed
}

func (r *recorder) Helper()           {}
func (r *recorder) Log(args ...any)   { r.say(false, fmt.Sprint(args...)) }
func (r *recorder) Error(args ...any) { r.say(true, fmt.Sprint(args...)) }

func (r *recorder) Errorf(format string, args ...any) { r.say(true, fmt.Sprintf(format, args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.say(true, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) FailNow() {
	r.say(true, "FailNow")
	runtime.Goexit()
}

func (r *recorder) Skip(args ...any) {
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	r.say(false, fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// text is all that was said.
func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// wantFault fails the test unless the check failed, and said so.
func wantFault(t *testing.T, rec *recorder, want string) {
	t.Helper()
	if text := rec.text(); !rec.Failed() || !strings.Contains(text, want) {
		t.Errorf("the kit said %q (failed %v), want %q", text, rec.Failed(), want)
	}
}
