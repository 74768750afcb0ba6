//go:build unix

package mcpool

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// child is this test binary as a server.
func child(part string, env ...string) Command {
	return Command{Path: os.Args[0], Env: append(append(os.Environ(), childEnv+"="+part), env...)}
}

func running(pid int) bool { return syscall.Kill(pid, 0) == nil && !zombie(pid) }

// zombie tells whether a process has ended and only waits to be noticed.
func zombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestCommandsAreSessionsAndEndWithThePool(t *testing.T) {
	t.Parallel()
	p, err := Open(t.Context(), Config{ConnectTimeout: time.Minute, Command: child("serve")})
	if err != nil {
		t.Fatal(err)
	}
	pids := make(map[int]bool)
	for range 3 {
		s, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		res, err := s.CallTool(t.Context(), callNamed("pid"))
		pid, _ := strconv.Atoi(text(t, res, err))
		pids[pid] = true
	}
	if len(pids) != 3 {
		t.Errorf("3 leases on %d processes", len(pids))
	}
	ctx, cancel := canceled(t)
	defer cancel()
	_ = p.Close(ctx) // takes the leases back
	for pid := range pids {
		if running(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

func TestACrashedCommandIsNamedWithItsLastWords(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{ConnectTimeout: time.Minute, Command: child("crash", "SECRET=hunter22hunter22"), ConnectRetries: Off})
	var e *ProcessError
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if e.State != "exit status 3" || len(e.Stderr) != 2 || !strings.Contains(e.Stderr[1], "the config is wrong") {
		t.Errorf("got %+v", e)
	}
	if strings.Contains(err.Error(), "hunter22") {
		t.Errorf("the error shows a secret: %v", err)
	}
}

func TestACommandRunsInItsDirectory(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := child("serve")
	c.Dir = dir
	p := openPool(t, Config{ConnectTimeout: time.Minute, Command: c, Min: 1, Max: 1})
	res, err := p.Call(t.Context(), "cwd", nil)
	if got := text(t, res, err); got != dir {
		t.Errorf("it runs in %s, want %s", got, dir)
	}
}

func TestACommandThatDoesNotExistIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{Command: Command{Path: "no-such-command-anywhere"}})
	if _, ok := errors.AsType[*ProcessError](err); !ok {
		t.Fatalf("got %v", err)
	}
}

func TestACommandThatDiesInACallIsReplaced(t *testing.T) {
	t.Parallel()
	p := openPool(t, Config{ConnectTimeout: time.Minute, Command: child("serve"), Min: 1, Max: 1})
	_, err := p.Call(t.Context(), "die", nil)
	var e *ProcessError
	if !errors.Is(err, ErrMayHaveRun) || !errors.As(err, &e) || e.State != "exit status 7" ||
		!strings.Contains(strings.Join(e.Stderr, "\n"), "dying as told") {
		t.Errorf("got %v", err)
	}
	if _, err := p.Call(t.Context(), "pid", nil); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestACommandThatDiesIdleCostsNobodyACall(t *testing.T) {
	t.Parallel()
	p := openPool(t, Config{ConnectTimeout: time.Minute, Command: child("serve"), Min: 1, Max: 1})
	res, err := p.Call(t.Context(), "pid", nil)
	pid, _ := strconv.Atoi(text(t, res, err))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// A zombie is not enough: while its other threads end, its stdin still takes what
	// nobody will read, and then a call may have run.
	poll(t, "the process to be reaped", func() bool { return syscall.Kill(pid, 0) != nil })
	res, err = p.Call(t.Context(), "pid", nil)
	if again := text(t, res, err); again == strconv.Itoa(pid) {
		t.Error("the same process")
	}
}

func TestCloseIsQuickAndTakesTheChildrenOfTheCommand(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"stubborn", "leaver"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			c := child(part, "PIDFILE="+file)
			if part == "stubborn" {
				c.StopTimeout = 50 * time.Millisecond
			} else {
				c.StopTimeout = time.Minute // it ends when it is told
			}
			p, err := Open(t.Context(), Config{ConnectTimeout: time.Minute, Command: c, Min: 1, Max: 1})
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			grandchild, _ := strconv.Atoi(string(data))
			if !running(grandchild) {
				t.Fatal("there is no grandchild")
			}
			began := time.Now()
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
			poll(t, "the grandchild to end", func() bool { return !running(grandchild) })
		})
	}
}
