//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// late fires while there is time left to say what a test waited for: a test binary whose
// time is over says where it stands, and nothing of that.
func late(t *testing.T) <-chan time.Time {
	t.Helper()
	end, limited := t.Deadline()
	if !limited {
		return nil
	}
	return time.After(time.Until(end) * 3 / 4)
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := late(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

// inTime is what f returns, and fails the test if f does not return.
func inTime[T any](t *testing.T, what string, f func() T) T {
	t.Helper()
	done := make(chan T, 1)
	go func() { done <- f() }()
	select {
	case v := <-done:
		return v
	case <-late(t):
		t.Fatalf("never: %s", what)
		panic("not reached")
	}
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !procfs() && syscall.Kill(pid, 0) == nil
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// procfs reports whether processes can be looked at in /proc.
func procfs() bool { return exists("/proc/self/stat") }

// kill ends the plugin's process, if there is one just now: 0 would be the group of the tests.
func kill(r *Running) {
	if pid := r.Stats().PID; pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// stop stops a process and waits until every thread of it stands.
func stop(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("there is no process to stop") // 0 would be the group of the tests
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process stands", func() bool {
		if !procfs() {
			return true
		}
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(threads) == 0 {
			return false
		}
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			if _, rest, _ := strings.Cut(string(stat), ") "); err == nil && !strings.HasPrefix(rest, "T") {
				return false
			}
		}
		return true
	})
}

func pidOf(t *testing.T, s string) int {
	t.Helper()
	pid, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestAStoppedPluginIsReplacedAndHoldsNobody(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.Health, p.Limits.HealthTimeout = 20*time.Millisecond, time.Second
	p.Limits.CircuitAfter, p.Limits.RestartMin, p.Limits.RestartMax = -1, time.Millisecond, time.Millisecond
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	pid := r.Stats().PID
	stop(t, pid)
	eventually(t, "another process answers", func() bool {
		c, err := a.Credentials(t.Context(), request("pid"))
		if err == nil && c.Header.Get("Authorization") == fmt.Sprint(pid) {
			t.Fatal("the stopped process answered")
		}
		return err == nil
	})
	eventually(t, "the stopped process ends", func() bool { return !alive(pid) })
}

func TestACallOnAStoppedPluginEndsAtItsDeadlineAndCloseEnds(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.Drain, p.Limits.Shutdown, p.Limits.Call = 10*time.Millisecond, 500*time.Millisecond, 1000*time.Hour
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	s, _ := auth.AsSigner(a)
	pid := r.Stats().PID
	stop(t, pid)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Credentials(ctx, request("pid")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Credentials: %v", err)
	}
	if _, err := s.Sign(ctx, request("x"), auth.HTTPRequest{URL: "https://api.example/"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Sign: %v", err)
	}
	if err := inTime(t, "Close returns", func() error { return r.Close(t.Context()) }); err != nil {
		t.Errorf("Close: %v", err)
	}
	eventually(t, "the stopped process ends", func() bool { return !alive(pid) })
}

func TestTheDefaultDeadlineEndsACallThatHasNone(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.Call = 50 * time.Millisecond
	a := open(t, launch(t, p), Instance{Name: "a"})
	if _, err := a.Credentials(context.Background(), request("hang")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestKillsUnderLoadCostNobodyACallConcurrentSafe(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.CircuitAfter, p.Limits.RestartMin, p.Limits.RestartMax = -1, time.Millisecond, time.Millisecond
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	s, _ := auth.AsSigner(a)
	const callers, kills = 8, 3
	var answers [callers]atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var err error
				if n%2 == 0 {
					_, err = a.Credentials(t.Context(), request("pid"))
				} else {
					_, err = s.Sign(t.Context(), request("x"), auth.HTTPRequest{Method: "GET", URL: "https://api.example/"})
				}
				if err != nil {
					t.Errorf("call %d of caller %d: %v", answers[n].Load(), n, err)
					return
				}
				answers[n].Add(1)
			}
		})
	}
	for n := range kills {
		// A call is repeated once: nobody may be on the second try at the next kill, so
		// everybody has begun and ended a call since the last start.
		var before [callers]int64
		for i := range callers {
			before[i] = answers[i].Load()
		}
		eventually(t, "everybody had an answer of this process", func() bool {
			for i := range callers {
				if answers[i].Load() < before[i]+2 && !t.Failed() {
					return false
				}
			}
			return true
		})
		kill(r)
		eventually(t, "it is started again", func() bool { return r.Stats().Starts == n+2 })
	}
	close(stop)
	wg.Wait()
}

// The end of a process and that of its connection race; gRPC calls the latter
// cancelled.
func TestACallWhoseConnectionTheHostClosedIsRepeated(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	dir := value(t, a, "state")
	result := make(chan string, 1)
	go func() {
		c, err := a.Credentials(context.Background(), request("gate"))
		if err != nil {
			result <- err.Error()
			return
		}
		result <- c.Header.Get("Authorization")
	}()
	waiting := filepath.Join(dir, "waiting")
	eventually(t, "the call is under way", func() bool { return exists(waiting) })
	if err := os.Remove(waiting); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	p := r.proc
	r.mu.Unlock()
	p.conn.Close()
	eventually(t, "the call is under way again, or failed", func() bool { return exists(waiting) || len(result) > 0 })
	os.WriteFile(filepath.Join(dir, "open"), nil, 0o600)
	if got := <-result; got != "gone through" {
		t.Errorf("the call: %s", got)
	}
}

func TestARestartRunsTheVerifiedBytes(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	if err := os.Remove(p.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Path, []byte("#!/bin/sh\necho stolen\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := value(t, a, "exitonce"); got != "second" {
		t.Errorf("got %q", got)
	}
}

func TestAPluginThatKeepsFailingIsLeftAlone(t *testing.T) {
	t.Setenv("CRASH_DIR", t.TempDir())
	p := part(t, "crashes")
	p.Env = []string{"CRASH_*"}
	p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = time.Millisecond, time.Hour, 3
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	kill(r)
	_, err := a.Credentials(t.Context(), request("pid"))
	down, ok := errors.AsType[*DownError](err)
	if !ok || !strings.Contains(err.Error(), "not again") {
		t.Fatalf("got %v, want a DownError that says why", err)
	}
	if down.Failures < 3 || r.Stats().Starts != 1 {
		t.Errorf("%d failures, %d starts", down.Failures, r.Stats().Starts)
	}
}

func TestAProcessThatOutgrowsItsMemoryIsStartedAgain(t *testing.T) {
	t.Parallel()
	if residentBytes(os.Getpid()) == 0 {
		t.Skip("memory cannot be looked at here")
	}
	p := part(t, "good")
	p.Limits.Health = 5 * time.Millisecond
	p.Limits.HealthTimeout = time.Minute // a loaded machine is no reason
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	r.mu.Lock() // what the race detector costs is not known beforehand
	limit := residentBytes(r.proc.child.number()) + 96<<20
	r.mu.Unlock()
	next := part(t, "good")
	next.Limits.Health, next.Limits.HealthTimeout, next.Limits.HardMemoryBytes = p.Limits.Health, time.Minute, limit
	if err := r.Replace(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	pid := r.Stats().PID
	_, _ = a.Credentials(t.Context(), request("alloc"))
	eventually(t, "the process is ended", func() bool { return !alive(pid) })
	if got := value(t, a, "pid"); got == fmt.Sprint(pid) {
		t.Error("the dead process answered")
	}
	if why := r.Stats().LastFailure; !strings.Contains(why, "Limits.HardMemoryBytes is") {
		t.Errorf("the last failure is %q", why)
	}
}

func TestNothingOfAPluginIsLeftAfterClose(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	pid, grandchild := r.Stats().PID, pidOf(t, value(t, a, "spawn"))
	sockets, _ := filepath.Glob(filepath.Join(r.run.path, "plugin-dir*"))
	if len(sockets) != 0 {
		t.Errorf("the plugin runs and its socket has a name still: %q", sockets)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "child and grandchild end", func() bool { return !alive(pid) && !alive(grandchild) })
	if _, err := os.Stat(r.run.path); !os.IsNotExist(err) {
		t.Errorf("the private folder is left: %v", err)
	}
	if _, err := a.Credentials(t.Context(), request("pid")); !errors.Is(err, ErrClosed) {
		t.Errorf("a call after Close: %v", err)
	}
}

func TestGrandchildrenOfACrashedPluginEnd(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	grandchild := pidOf(t, value(t, a, "spawn"))
	if procfs() {
		r.mu.Lock()
		lifeline, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", r.proc.child.lifeline.Fd()))
		r.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		held, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", grandchild))
		if err != nil || len(held) < 3 {
			t.Errorf("the grandchild holds %q, %v", held, err)
		}
		for _, fd := range held {
			if what, _ := os.Readlink(fd); what == lifeline || strings.Contains(what, "memfd:mcpool") {
				t.Errorf("the grandchild holds %s", what)
			}
		}
	}
	kill(r)
	eventually(t, "the grandchild ends", func() bool { return !alive(grandchild) })
}

func TestASignalToTheGroupDoesNotEndAPlugin(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	pid := r.Stats().PID
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		syscall.Kill(pid, sig)
		if got := value(t, a, "pid"); got != fmt.Sprint(pid) {
			t.Errorf("after %v process %s answers, not %d", sig, got, pid)
		}
	}
}

func TestCloseWaitsForTheCallsUnderWay(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	dir := value(t, a, "state")
	result := make(chan error, 1)
	go func() {
		c, err := a.Credentials(context.Background(), request("gate"))
		if err == nil && c.Header.Get("Authorization") != "gone through" {
			err = errors.New("a wrong answer")
		}
		result <- err
	}()
	eventually(t, "the call is under way", func() bool { return exists(filepath.Join(dir, "waiting")) })
	closed := make(chan error, 1)
	go func() { closed <- r.Close(context.Background()) }()
	eventually(t, "Close has begun", func() bool {
		_, err := a.Credentials(t.Context(), request("pid"))
		return errors.Is(err, ErrClosed)
	})
	os.WriteFile(filepath.Join(dir, "open"), nil, 0o600)
	if err := <-result; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
