//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestFailuresAreForgottenAfterATimeWithoutThem(t *testing.T) {
	t.Parallel()
	for stable, want := range map[time.Duration]int{time.Hour: 3, 1: 1} {
		p := part(t, "good")
		p.Limits.StableAfter, p.Limits.CircuitAfter = stable, -1
		p.Limits.RestartMin, p.Limits.RestartMax = time.Millisecond, time.Millisecond
		r := launch(t, p)
		for n := range 3 {
			syscall.Kill(r.Stats().PID, syscall.SIGKILL)
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
	syscall.Kill(r.Stats().PID, syscall.SIGKILL)
	eventually(t, "it waits for the next start", func() bool { return r.Stats().Failures == 2 })
	if err := r.Close(t.Context()); err != nil {
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
	syscall.Kill(r.Stats().PID, syscall.SIGKILL)
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
	syscall.Kill(r.Stats().PID, syscall.SIGKILL)
	eventually(t, "the second process is there", func() bool { return exists(filepath.Join(dir, "second")) })
	text, err := os.ReadFile(filepath.Join(dir, "second"))
	if err != nil {
		t.Fatal(err)
	}
	return r, dir, pidOf(t, string(text))
}

func TestCloseEndsAStartThatIsUnderWay(t *testing.T) {
	r, _, second := waiting(t)
	if err := r.Close(t.Context()); err != nil {
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
	syscall.Kill(r.Stats().PID, syscall.SIGKILL)
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
	a := open(t, launch(t, p), Instance{Name: "a"})
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
}
