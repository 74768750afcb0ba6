//go:build unix

package host

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whoever wants no limit says so with the largest there is.
func TestLimitsMayBeAsLargeAsTheyLike(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.Start, p.Limits.Call, p.Limits.Drain, p.Limits.Shutdown = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64
	p.Limits.MemoryBytes, p.Limits.MessageBytes = math.MaxInt64, math.MaxInt
	r := launch(t, p)
	if value(t, open(t, r, Instance{Name: "a"}), "pid") == "" {
		t.Error("it does not answer")
	}
}

// The plugin does not do it where it crashed.
func TestTheGroupOfAProcessThatEndedIsEnded(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	c := newChild(&p)
	dir := t.TempDir()
	script := &image{path: "/bin/sh"}
	if err := c.prepare(&p, script, &runDir{path: dir}, nil, ""); err != nil {
		t.Fatal(err)
	}
	c.cmd.Args = []string{"sh", "-c", "sleep 3600 >/dev/null 2>&1 & echo $! >" + filepath.Join(dir, "pid")}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-c.exited
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, strings.TrimSpace(string(text)))
	defer syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "what it started ends", func() bool { return !alive(pid) })
}

func TestTheEnvironmentOfAPluginIsWhatItNeedsUnlessTheHostSaysOtherwise(t *testing.T) {
	t.Setenv("HOME", "/host/home")
	t.Setenv("GOGC", "77")
	t.Setenv("GOMEMLIMIT", "1GiB")
	run := &runDir{path: "/run"}
	of := func(change func(*Plugin)) []string {
		p := &Plugin{StateDir: "/state", Logger: slog.New(slog.DiscardHandler), Limits: Limits{MemoryBytes: 1 << 20, MessageBytes: 7}}
		if change != nil {
			change(p)
		}
		return childEnv(p, run, []string{"HAND=shake"})
	}
	level := func(l slog.Level) func(*Plugin) {
		return func(p *Plugin) { p.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})) }
	}
	for name, kase := range map[string]struct {
		env  []string
		want string
	}{
		"its own": {of(nil), "GOGC=400 GOMEMLIMIT=1048576 HAND=shake HOME=/state/home MCPOOL_LOG_LEVEL=ERROR MCPOOL_MAX_MESSAGE_BYTES=7 MCPOOL_RUN_DIR=/run TMPDIR=/run/tmp"},
		"the host's": {
			of(func(p *Plugin) { p.Env = []string{"HOME", "GOGC", "GOMEMLIMIT"} }),
			"GOGC=77 GOMEMLIMIT=1GiB HAND=shake HOME=/host/home MCPOOL_LOG_LEVEL=ERROR MCPOOL_MAX_MESSAGE_BYTES=7 MCPOOL_RUN_DIR=/run TMPDIR=/run/tmp",
		},
		"no limit on its memory": {
			of(func(p *Plugin) { p.Limits.MemoryBytes = -1 }),
			"HAND=shake HOME=/state/home MCPOOL_LOG_LEVEL=ERROR MCPOOL_MAX_MESSAGE_BYTES=7 MCPOOL_RUN_DIR=/run TMPDIR=/run/tmp",
		},
		"debug": {of(level(slog.LevelDebug)), "MCPOOL_LOG_LEVEL=DEBUG"}, "info": {of(level(slog.LevelInfo)), "MCPOOL_LOG_LEVEL=INFO"},
		"warn": {of(level(slog.LevelWarn)), "MCPOOL_LOG_LEVEL=WARN"}, "error": {of(level(slog.LevelError)), "MCPOOL_LOG_LEVEL=ERROR"},
	} {
		slices.Sort(kase.env)
		got := strings.Join(kase.env, " ")
		if one := !strings.Contains(kase.want, " "); one && !slices.Contains(kase.env, kase.want) || !one && got != kase.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, kase.want)
		}
	}
}

func TestAStartThatFailedIsExplained(t *testing.T) {
	t.Parallel()
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	givenUp, giveUp := context.WithCancel(t.Context())
	giveUp()
	for want, kase := range map[string]struct {
		ctx    context.Context
		child  func(*child)
		remedy string
	}{
		`failed while it started; it said "oh dear": the plugin is no good`: {t.Context(), func(c *child) { c.stdout.seen = true; c.head.Write([]byte("oh dear\n")) }, "See its log."},
		`did not describe itself within Limits.Start = 1s: `:                {late, func(c *child) { c.stdout.seen = true; c.head.Write([]byte("oh dear\n")) }, "See its log."},
		`did not say a word within Limits.Start = 1s: `:                     {late, nil, "It has to call sdk.Main first."},
		`was given up while it started: `:                                   {givenUp, nil, "Launch it with a context that lasts."},
		`ended at once (signal: killed)`:                                    {t.Context(), func(c *child) { c.state = "signal: killed" }, "Run it by hand"},
		`cannot be executed: permission denied`:                             {t.Context(), func(c *child) { c.failed = syscall.EACCES }, "this user may run it"},
		`cannot be executed here: exec format error`:                        {t.Context(), func(c *child) { c.failed = syscall.ENOEXEC }, "Install the build for this platform"},
		`printed "x"`: {t.Context(), func(c *child) { c.stdout.seen, c.stdout.refusal = true, `printed "x"` }, "before sdk.Main."},
	} {
		p := &Plugin{Path: "/x", Logger: testLogger(t), Limits: Limits{Start: time.Second}}
		proc := &process{plugin: p, child: newChild(p)}
		if kase.child != nil {
			kase.child(proc.child)
		}
		err := proc.explain(kase.ctx, errors.New("the plugin is no good"))
		le, ok := errors.AsType[*LaunchError](err)
		if !ok || le.Path != "/x" || !strings.HasPrefix(err.Error(), "host: plugin /x "+want) || !strings.Contains(le.Remedy, kase.remedy) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestWhatIsExplainedAlreadyStaysAsItIs(t *testing.T) {
	t.Parallel()
	p := &Plugin{Path: "/x", Logger: testLogger(t)}
	proc := &process{plugin: p, child: newChild(p)}
	want := &LaunchError{Path: "/x", Reason: "is no good", Remedy: "Take another."}
	if err := proc.explain(t.Context(), want); err != error(want) { //nolint:errorlint // that very one
		t.Errorf("got %v", err)
	}
}

// go-plugin forgets a connection on which it cannot begin. That nothing of it is left, the
// goroutines say when all tests are over.
func TestAStartThatIsGivenUpWhileItConnectsLeavesNoConnection(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CRASH_DIR", dir)
	p := part(t, "silent")
	p.Env, p.Limits.Start = []string{"CRASH_*"}, 1000*time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	launched := make(chan error, 1)
	go func() {
		_, err := Launch(ctx, p)
		launched <- err
	}()
	keeper := filepath.Join(dir, "keeper")
	eventually(t, "it takes the connection", func() bool { return exists(keeper) })
	text, err := os.ReadFile(keeper)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pidOf(t, string(text)), syscall.SIGKILL)
	cancel()
	if err := inTime(t, "the start ends", func() error { return <-launched }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Whoever inherits the plugin's end of it keeps it open.
func TestTheEndOfAPluginIsNoticedWhenItsConnectionStays(t *testing.T) {
	t.Parallel()
	if !procfs() {
		t.Skip("needs /proc")
	}
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	keeper := pidOf(t, value(t, a, "keeper"))
	defer syscall.Kill(keeper, syscall.SIGKILL)
	pid := r.Stats().PID
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "it is started again", func() bool { return r.Stats().Starts == 2 })
	if why := r.Stats().LastFailure; !strings.HasPrefix(why, "it ended (signal: killed)") || !alive(keeper) {
		t.Errorf("the last failure is %q", why)
	}
}

func TestABrokenConnectionIsNoticedWithoutACall(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	r.mu.Lock()
	p := r.proc
	r.mu.Unlock()
	p.conn.Close()
	eventually(t, "it is started again", func() bool { return r.Stats().Starts == 2 })
	if why := r.Stats().LastFailure; !strings.HasPrefix(why, "its connection broke") {
		t.Errorf("the last failure is %q", why)
	}
}

func TestAnEndThatThePluginFailsIsLoggedAndComesNevertheless(t *testing.T) {
	t.Parallel()
	log := &records{}
	p := part(t, "lavish") // it knows no Shutdown
	p.Logger = slog.New(log)
	r := launch(t, p)
	pid := r.Stats().PID
	if err := inTime(t, "Close returns", func() error { return r.Close(t.Context()) }); err != nil {
		t.Error(err)
	}
	rec, ok := log.find("the plugin's shutdown failed")
	if !ok || rec.Level != slog.LevelWarn || attrsOf(rec)["error"] == "" {
		t.Errorf("the log says %v %v", ok, attrsOf(rec))
	}
	eventually(t, "it ends", func() bool { return !alive(pid) })
}

func TestTheLastWordsOfAPluginReachTheLog(t *testing.T) {
	t.Parallel()
	log := &records{}
	p := part(t, "exits")
	p.Logger = slog.New(log)
	if r, err := Launch(t.Context(), p); err == nil {
		t.Fatal("it was launched", r.Close(t.Context()))
	}
	if _, ok := log.find("last words"); !ok { // which have no line break
		t.Error("they do not")
	}
}

func TestResidentMemoryIsNotVirtualMemory(t *testing.T) {
	t.Parallel()
	if !procfs() {
		t.Skip("needs /proc")
	}
	if n := residentBytes(1 << 30); n != 0 {
		t.Errorf("a process that is not there has %d bytes", n)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib := int64(0)
	for _, c := range strings.TrimSpace(rest) {
		if c < '0' || c > '9' {
			break
		}
		kib = 10*kib + int64(c-'0')
	}
	if got := residentBytes(os.Getpid()); got < kib<<9 || got > kib<<11 {
		t.Errorf("%d bytes, and the kernel says %d", got, kib<<10)
	}
}
