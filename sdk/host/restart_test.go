//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func TestFailuresAreForgottenAfterATimeWithoutThem(t *testing.T) {
	t.Parallel()
	for stable, want := range map[time.Duration]int{time.Hour: 3, 1: 1} {
		p := part(t, "good")
		p.Limits.StableAfter, p.Limits.CircuitAfter = stable, -1
		p.Limits.RestartMin, p.Limits.RestartMax = time.Millisecond, time.Millisecond
		r := launch(t, p)
		for n := range 3 {
			kill(r)
			eventually(t, "it is started again", func() bool { return r.Stats().Starts == n+2 })
		}
		if got := r.Stats().Failures; got != want {
			t.Errorf("stable after %v: %d failures in a row, want %d", stable, got, want)
		}
	}
}

func TestHostsThatFailedTogetherDoNotStartTogether(t *testing.T) {
	t.Parallel()
	seen := make(map[time.Duration]bool)
	for range 20 {
		seen[jitter(time.Hour)] = true
	}
	if len(seen) < 2 {
		t.Error("the wait is always the same")
	}
}

// The first process may have done what was asked, whatever becomes of the next.
func TestACallThatCannotBeRepeatedMayHaveRun(t *testing.T) {
	t.Setenv("CRASH_DIR", t.TempDir())
	p := part(t, "crashes")
	p.Env = []string{"CRASH_*"}
	p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = time.Millisecond, time.Hour, 3
	a := open(t, launch(t, p), Instance{Name: "a"})
	_, err := a.Credentials(t.Context(), request("exit"))
	if _, ok := errors.AsType[*DownError](err); !ok || !asError(err).Ran || asError(err).Downstream {
		t.Errorf("the call that was under way: %v", err)
	}
	_, err = a.Credentials(t.Context(), request("exit"))
	if _, ok := errors.AsType[*DownError](err); !ok || asError(err).Ran {
		t.Errorf("a later call: %v", err)
	}
}

// A closed host has no time for the backoff of a plugin that keeps failing.
func TestCloseDoesNotWaitForABackoff(t *testing.T) {
	t.Setenv("CRASH_DIR", t.TempDir())
	p := part(t, "crashes")
	p.Env = []string{"CRASH_*"}
	p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = 1000*time.Hour, 1000*time.Hour, -1
	r, err := Launch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	kill(r)
	eventually(t, "it waits for the next start", func() bool { return r.Stats().Failures == 2 })
	if err := inTime(t, "Close returns", func() error { return r.Close(t.Context()) }); err != nil {
		t.Error(err)
	}
}

// Nor has a new build.
func TestReplaceDoesNotWaitForABackoffAndClosesTheCircuit(t *testing.T) {
	t.Setenv("CRASH_DIR", t.TempDir())
	p := part(t, "crashes")
	p.Env = []string{"CRASH_*"}
	p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = 1000*time.Hour, 1000*time.Hour, 2
	p.StateDir = filepath.Join(t.TempDir(), "state")
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a", Config: map[string]string{"greeting": "hi"}})
	dir := value(t, a, "state")
	kill(r)
	eventually(t, "it is left alone", func() bool { return r.Stats().Failures == 2 })
	next := part(t, "next")
	next.Name = "another"
	if err := r.Replace(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	name := r.plugin.Name
	r.mu.Unlock()
	if name != "crashes" {
		t.Errorf("it is called %q now", name)
	}
	if got := value(t, a, "key"); got != "hi" || r.Stats().Failures != 0 || r.Describe().Version != "2.0.0" {
		t.Errorf("the new build answers %q, %+v", got, r.Stats())
	}
	if got := value(t, a, "state"); got != dir {
		t.Errorf("its state is in %q, and was in %q", got, dir)
	}
	pid := r.Stats().PID
	syscall.Kill(pid, syscall.SIGKILL) // the supervisor watches the new one
	eventually(t, "the new one is started again", func() bool { return value(t, a, "pid") != fmt.Sprint(pid) })
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.Replace(t.Context(), part(t, "next")); !errors.Is(err, ErrClosed) {
		t.Errorf("Replace after Close: %v", err)
	}
}

// waiting launches a plugin whose next process does not say a word before the file "go"
// is in the folder, kills it, and returns when the next one is there.
func waiting(t *testing.T) (r *Running, dir string, second int) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("CRASH_DIR", dir)
	p := part(t, "waits")
	p.Env = []string{"CRASH_*"}
	p.Limits.Start = 1000 * time.Hour
	r = launch(t, p)
	kill(r)
	eventually(t, "the second process is there", func() bool { return exists(filepath.Join(dir, "second")) })
	text, err := os.ReadFile(filepath.Join(dir, "second"))
	if err != nil {
		t.Fatal(err)
	}
	return r, dir, pidOf(t, string(text))
}

func TestCloseEndsAStartThatIsUnderWay(t *testing.T) {
	r, _, second := waiting(t)
	if err := inTime(t, "Close returns", func() error { return r.Close(t.Context()) }); err != nil {
		t.Error(err)
	}
	eventually(t, "the process ends", func() bool { return !alive(second) })
}

func TestAStartThatReplaceOvertookEnds(t *testing.T) {
	r, dir, second := waiting(t)
	if err := r.Replace(t.Context(), part(t, "next")); err != nil {
		t.Fatal(err)
	}
	pid := r.Stats().PID
	writeFile(t, filepath.Join(dir, "go"), "", 0o600)
	eventually(t, "the process of the old build ends", func() bool { return !alive(second) })
	if s := r.Stats(); s.PID != pid || !alive(pid) || r.Describe().Version != "2.0.0" {
		t.Errorf("it is %+v, version %s, want process %d", s, r.Describe().Version, pid)
	}
}

func TestReplaceWakesWhoWaitsForAProcess(t *testing.T) {
	t.Setenv("CRASH_DIR", t.TempDir())
	p := part(t, "crashes")
	p.Env = []string{"CRASH_*"}
	p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = 1000*time.Hour, 1000*time.Hour, -1
	called := make(chan struct{}, 1)
	p.Span = func(ctx context.Context, _, method string) (context.Context, string, func(error)) {
		if method == "Credentials" {
			called <- struct{}{}
		}
		return ctx, "", func(error) {}
	}
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	kill(r)
	eventually(t, "it waits for the next start", func() bool { return r.Stats().Failures == 2 })
	result := make(chan error, 1)
	go func() {
		_, err := a.Credentials(t.Context(), request("pid"))
		result <- err
	}()
	<-called
	if err := r.Replace(t.Context(), part(t, "next")); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestTheCircuitClosesWhenAStartSucceeds(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CRASH_DIR", dir)
	p := part(t, "crashes")
	p.Env = []string{"CRASH_*"}
	p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = time.Millisecond, 10*time.Millisecond, 2
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	down := func() bool {
		_, err := a.Credentials(t.Context(), request("exit"))
		_, ok := errors.AsType[*DownError](err)
		return ok
	}
	eventually(t, "calls fail at once", down)
	if err := os.Remove(filepath.Join(dir, "mark")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it answers again", func() bool {
		_, err := a.Credentials(t.Context(), request("pid"))
		return err == nil
	})
	r.mu.Lock() // the next time there is no process, calls wait for one
	defer r.mu.Unlock()
	if r.down != nil {
		t.Errorf("it says still: %v", r.down)
	}
}

// down launches a plugin that is not started again before the test is over, and kills it.
func down(t *testing.T, circuitAfter int) (*Running, auth.Provider) {
	t.Helper()
	t.Setenv("CRASH_DIR", t.TempDir())
	p := part(t, "crashes")
	p.Env = []string{"CRASH_*"}
	p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = 1000*time.Hour, 1000*time.Hour, circuitAfter
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	kill(r)
	eventually(t, "it waits for the next start", func() bool { return r.Stats().Failures == 2 })
	return r, a
}

func TestACallThatWaitsForAProcessEndsWithItsContext(t *testing.T) {
	_, a := down(t, -1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := inTime(t, "the call returns", func() error {
		_, err := a.Credentials(ctx, request("pid"))
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waiting for the plugin to be started again") {
		t.Errorf("got %v", err)
	}
	if asError(err).Ran {
		t.Error("it says that the call may have run")
	}
}

// The interceptors bound what reaches a process. Calls wait for one before.
func TestTheDefaultDeadlineBoundsTheWaitForAProcess(t *testing.T) {
	r, a := down(t, -1)
	r.mu.Lock()
	r.plugin.Limits.Call = 50 * time.Millisecond
	r.mu.Unlock()
	i := a.(*authProvider).instance
	for name, call := range map[string]func(context.Context) error{
		"Credentials": func(ctx context.Context) error { _, err := a.Credentials(ctx, request("pid")); return err },
		"Challenge": func(ctx context.Context) error {
			_, err := a.Challenge(ctx, request("pid"), auth.Challenge{})
			return err
		},
		"Export": func(ctx context.Context) error {
			_, err := (&metricsSink{running: r, instance: i}).Export(ctx, metrics.Batch{})
			return err
		},
		"Probe": func(ctx context.Context) error {
			_, err := (&Prober{running: r, instance: i}).Probe(ctx, &resource{})
			return err
		},
		"Dial": func(ctx context.Context) error {
			_, err := (&Dialer{running: r, instance: i}).Dial(ctx, transport.Open{})
			return err
		},
		"Close": func(ctx context.Context) error { return r.closeInstance(ctx, i) },
	} {
		if err := inTime(t, name+" returns", func() error { return call(context.Background()) }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCloseWakesWhoWaitsForAProcess(t *testing.T) {
	r, a := down(t, -1)
	called, calls := make(chan struct{}), make(chan error, 1)
	r.mu.Lock()
	r.plugin.Span = func(ctx context.Context, _, _ string) (context.Context, string, func(error)) {
		close(called)
		return ctx, "", func(error) {}
	}
	r.mu.Unlock()
	go func() {
		_, err := a.Credentials(context.Background(), request("pid"))
		calls <- err
	}()
	<-called
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := inTime(t, "the call returns", func() error { return <-calls }); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestAnInstanceOfAPluginThatIsDownOrClosedIsClosed(t *testing.T) {
	r, a := down(t, 2)
	if err := a.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if n := r.Stats().Instances; n != 0 {
		t.Errorf("%d instances", n)
	}
	b := open(t, launch(t, part(t, "good")), Instance{Name: "b"})
	if err := b.(*authProvider).running.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Errorf("Close after that of the plugin: %v", err)
	}
}

func TestTheCircuitOpensAfterSoManyFailuresAndSaysUntilWhen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Plugin{Limits: Limits{CircuitAfter: 3, RestartMin: time.Second, RestartMax: time.Hour}}
		r := &Running{name: "x", plugin: p, changed: make(chan struct{})}
		for n := range 4 {
			r.failedLocked(fmt.Errorf("failure %d", n+1))
			if n < 2 {
				if r.down != nil {
					t.Fatalf("it is open after %d failures", n+1)
				}
				continue
			}
			if r.down == nil {
				t.Fatalf("it is closed after %d failures", n+1)
			}
			want := DownError{Plugin: "x", Failures: n + 1, RetryAt: time.Now().Add(time.Second << (n - 1)), Err: r.down.Err}
			if *r.down != want || r.down.Err.Error() != fmt.Sprint("failure ", n+1) {
				t.Errorf("after %d failures %+v", n+1, r.down)
			}
		}
	})
}

// It has long been condemned when the supervisor learns of it.
func TestTheEndOfAReplacedProcessIsNotThatOfTheNext(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	r.mu.Lock()
	old := r.proc
	r.mu.Unlock()
	if err := r.Replace(t.Context(), part(t, "next")); err != nil {
		t.Fatal(err)
	}
	pid := r.Stats().PID
	r.bury(old)
	if s := r.Stats(); s.PID != pid || s.Failures != 0 || s.Starts != 2 {
		t.Errorf("%+v, want the process %d", s, pid)
	}
}
