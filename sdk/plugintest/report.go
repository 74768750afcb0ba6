package plugintest

import (
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// report is where a check says what is wrong: each thing once, and nothing any more
// when the check is over, because a plugin may answer later than anybody waits.
type report struct {
	testing.TB

	patience time.Duration

	secrets *secrets

	mu   sync.Mutex
	said map[string]bool // guarded by mu
	over bool            // guarded by mu
}

func newReport(tb testing.TB, patience time.Duration, secrets *secrets) *report {
	r := &report{TB: tb, patience: patience, secrets: secrets, said: make(map[string]bool)}
	tb.Cleanup(func() {
		r.mu.Lock()
		r.over = true
		r.mu.Unlock()
	})
	return r
}

// Fatalf reports what is wrong and ends the check.
func (r *report) Fatalf(format string, args ...any) {
	r.Helper()
	r.TB.Fatalf("%s", r.secrets.redact(fmt.Sprintf(format, args...)))
}

// faultf reports what is wrong. It may be called from any goroutine.
func (r *report) faultf(format string, args ...any) {
	r.Helper()
	msg := r.secrets.redact(fmt.Sprintf(format, args...)) // test logs are kept
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.said[msg] {
		return
	}
	r.said[msg] = true
	r.Error(msg)
}

// secrets are the values that may not be seen.
type secrets struct {
	mu     sync.Mutex
	values map[string]bool // guarded by mu
}

func newSecrets(known []auth.Secret) *secrets {
	s := &secrets{values: make(map[string]bool)}
	for _, k := range known {
		s.hide(k.Reveal())
	}
	return s
}

// add adds those of others.
func (s *secrets) add(o *secrets) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for v := range o.values {
		s.hide(v)
	}
}

// minSecret is the length from which on a value is looked for: shorter ones are found
// everywhere.
const minSecret = 4

// hide adds a value.
func (s *secrets) hide(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(value) >= minSecret {
		s.values[value] = true
	}
}

// in reports whether a text shows one of them.
func (s *secrets) in(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.values {
		if strings.Contains(text, v) {
			return true
		}
	}
	return false
}

// redact returns a text without them.
func (s *secrets) redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.values {
		text = strings.ReplaceAll(text, v, "[secret]")
	}
	return text
}

// inspect reports a secret in a text. The text is not shown.
func (r *report) inspect(what, text string) {
	r.Helper()
	if r.secrets.in(text) {
		r.faultf("%s shows a secret", what)
	}
}

// inspectError reports a secret in an error, whatever prints it.
func (r *report) inspectError(what string, err error) {
	r.Helper()
	if err != nil {
		r.inspect("the error of "+what, printed(err))
	}
}

// forged is the message of a log record that nobody wrote. Text from outside, with
// poison in it, would make one of a line of its own.
const (
	forged = "plugintest: forged"
	poison = "\n" + `{"level":"ERROR","msg":"` + forged + `"}` + "\n"
)

// printed is v as it may get into a log.
func printed(v any) string {
	return fmt.Sprintf("%v\n%+v\n%#v\n%s\n%q\n", v, v, v, v, v) + jsonOf(v)
}

// shield calls f, and reports a panic and a Goexit.
func (r *report) shield(what string, f func()) {
	r.Helper()
	done := false
	defer func() {
		if v := recover(); v != nil {
			r.faultf("%s panicked: %v\n%s", what, v, debug.Stack())
		} else if !done {
			r.faultf("%s ended its goroutine", what)
		}
	}()
	f()
	done = true
}

// within calls f in a goroutine and waits for it. Who does not return in time is left
// behind, and reported.
func (r *report) within(what string, f func()) bool {
	r.Helper()
	return r.wait(what, r.start(what, f))
}

// start calls f in a goroutine.
func (r *report) start(what string, f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.shield(what, f)
	}()
	return done
}

// wait waits for what start began.
func (r *report) wait(what string, done <-chan struct{}) bool {
	r.Helper()
	t := time.NewTimer(r.patience)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	}
	r.faultf("%s: it did not return within %v", what, r.patience)
	return false
}

// poll waits for a condition and reports whether it came.
func (r *report) poll(ok func() bool) bool { return r.pollFor(r.patience, ok) }

// pollFor waits that long for a condition and reports whether it came.
func (r *report) pollFor(patience time.Duration, ok func() bool) bool {
	end := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(end) {
			return false
		}
		<-tick.C
	}
	return true
}
