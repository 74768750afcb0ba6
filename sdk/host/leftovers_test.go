//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// holdings are what this process has: descriptors by what they are, and children.
func holdings(t *testing.T) map[string]int {
	t.Helper()
	has := make(map[string]int)
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if what, err := os.Readlink(fd); err == nil {
			kind, _, _ := strings.Cut(what, ":[") // of pipes and sockets, the number says nothing
			has[kind]++
		}
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == fmt.Sprint(os.Getpid()) {
			has["children"]++
		}
	}
	return has
}

// A host lives for months: what it forgets each time a plugin comes or goes adds up. No
// other test runs beside this one, because it is not parallel.
func TestNoProcessDescriptorOrFileIsLeftOfAnythingThatHappens(t *testing.T) {
	if !procfs() {
		t.Skip("needs /proc")
	}
	good, next, strange := part(t, "good"), part(t, "next"), part(t, "looker")
	wrong := good
	wrong.SHA256 = strings.Repeat("0", 64)
	mute := part(t, "mute")
	mute.Limits.Start = 50 * time.Millisecond
	encrypted := good
	encrypted.MutualTLS = true
	stopped := good
	stopped.Limits.Drain, stopped.Limits.Shutdown = time.Millisecond, 100*time.Millisecond
	text := good
	text.Path, text.SHA256, text.AllowUnverified = filepath.Join(t.TempDir(), "text"), "", true
	writeFile(t, text.Path, "neither program nor script", 0o700)
	tmp := shortTemp(t)
	t.Setenv("TMPDIR", tmp)

	running := func(p Plugin, use func(*Running, auth.Provider)) func() {
		return func() {
			r, err := Launch(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			a, err := r.Auth(t.Context(), Instance{Name: "a"})
			if err == nil {
				use(r, a)
			} else {
				t.Error(err)
			}
			if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	}
	refused := func(p Plugin) func() {
		return func() {
			if r, err := Launch(t.Context(), p); err == nil {
				t.Error("it was launched", r.Close(t.Context()))
			}
		}
	}
	replaced := func(with Plugin, works bool) func() {
		return running(good, func(r *Running, a auth.Provider) {
			if err := r.Replace(t.Context(), with); (err == nil) != works {
				t.Errorf("Replace: %v", err)
			}
			value(t, a, "pid")
		})
	}
	nothing := func(*Running, auth.Provider) {}
	running(good, nothing)() // what the runtime opens once
	running(encrypted, nothing)()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it closes files that nobody has any more
	before := holdings(t)
	for name, event := range map[string]func(){
		"a launch":                    running(good, nothing),
		"mutual TLS":                  running(encrypted, nothing),
		"a refusal":                   running(good, func(r *Running, _ auth.Provider) { _, _ = r.Auth(t.Context(), Instance{Name: "b", Config: []int{}}) }),
		"another digest":              refused(wrong),
		"no program":                  refused(text),
		"garbage":                     refused(part(t, "garbage")),
		"an exit at once":             refused(part(t, "exits")),
		"a mute one":                  refused(mute),
		"other majors":                refused(part(t, "future")),
		"a Replace":                   replaced(next, true),
		"a Replace, refused":          replaced(wrong, false),
		"a Replace that does not run": replaced(part(t, "exits"), false),
		"a Replace that cannot open":  replaced(strange, false),
		"kill -9": running(good, func(r *Running, a auth.Provider) {
			pid := r.Stats().PID
			syscall.Kill(pid, syscall.SIGKILL)
			eventually(t, "another process answers", func() bool { return value(t, a, "pid") != fmt.Sprint(pid) })
		}),
		"kill -9 and Close": running(good, func(r *Running, _ auth.Provider) { kill(r) }),
		"SIGSTOP and Close": running(stopped, func(r *Running, _ auth.Provider) { stop(t, r.Stats().PID) }),
	} {
		t.Run(name, func(t *testing.T) {
			event()
			var has map[string]int
			defer func() {
				if t.Failed() {
					t.Logf("before %v, now %v", before, has)
				}
			}()
			eventually(t, "all of it is gone", func() bool {
				has = holdings(t)
				left, err := os.ReadDir(tmp)
				for what, n := range has {
					if n > before[what] {
						return false
					}
				}
				return err == nil && len(left) == 0
			})
		})
	}
}

func TestAPluginHasItsLimitAndItsFoldersFromTheHost(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.MemoryBytes = 300 << 20
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	if got := value(t, a, "limit"); got != fmt.Sprint(300<<20) {
		t.Errorf("its runtime stays below %s bytes", got)
	}
	if got := value(t, a, "env:TMPDIR"); filepath.Dir(got) != r.run.path || !exists(got) {
		t.Errorf("its temporary files are in %q", got)
	}
	if got := value(t, a, "folder"); got != r.run.path {
		t.Errorf("it works in %q", got)
	}
	r.mu.Lock()
	hard := r.plugin.Limits.HardMemoryBytes
	r.mu.Unlock()
	if hard != 600<<20 {
		t.Errorf("the hard limit is %d, want twice the other", hard)
	}
}

func TestALaunchRemovesTheFoldersOfDeadHostsAndNoOthers(t *testing.T) {
	tmp := shortTemp(t)
	dead, living, other := filepath.Join(tmp, "mcpool-1"), filepath.Join(tmp, "mcpool-2"), filepath.Join(tmp, "mcpool-3")
	for _, dir := range []string{dead, living, other} {
		if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dead, lockName), "", 0o600)
	lock, err := takeLock(filepath.Join(living, lockName))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	linked, elsewhere := filepath.Join(tmp, "mcpool-4"), filepath.Join(tmp, "elsewhere")
	writeFile(t, elsewhere, "", 0o600)
	if err := errors.Join(os.Mkdir(linked, 0o700), os.Symlink(elsewhere, filepath.Join(linked, lockName))); err != nil {
		t.Fatal(err)
	}
	half, born, still := filepath.Join(tmp, "oldmcpool-4"), filepath.Join(tmp, "newmcpool-5"), filepath.Join(tmp, "newmcpool-6")
	for _, dir := range []string{half, born, still} {
		if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(still, long, long); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	launch(t, part(t, "good"))
	if exists(dead) || !exists(living) || !exists(other) || !exists(linked) {
		t.Errorf("there are: the dead host's %v, the living one's %v, one without a lock %v, with somebody else's %v",
			exists(dead), exists(living), exists(other), exists(linked))
	}
	if exists(half) || exists(still) || !exists(born) {
		t.Errorf("there are: one half removed %v, one never finished %v, one just begun %v", exists(half), exists(still), exists(born))
	}
}

// Who opens one more instance while or after a plugin is closed gets an error, and no folder.
func TestAnInstanceThatComesTooLateLeavesNoFolderConcurrentSafe(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	late := func(name string) {
		in := Instance{Name: name}
		_, a := r.Auth(t.Context(), in)
		_, d := r.Transport(t.Context(), in)
		_, p := r.Probe(t.Context(), in)
		_, m := r.Metrics(t.Context(), in)
		for _, err := range []error{d, p, m} { // the kinds that the plugin does not have
			if err == nil {
				t.Error("an instance was opened of a kind that there is not")
			}
		}
		if name == "after" && !(errors.Is(a, ErrClosed) && errors.Is(d, ErrClosed) && errors.Is(p, ErrClosed) && errors.Is(m, ErrClosed)) {
			t.Errorf("after Close: %v, %v, %v, %v", a, d, p, m)
		}
	}
	var openers sync.WaitGroup
	for n := range 4 {
		openers.Go(func() {
			for i := range 50 {
				late(fmt.Sprintf("beside-%d-%d", n, i))
			}
		})
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	openers.Wait()
	late("after")
	if exists(r.run.path) {
		t.Error("there is a folder of the plugin that was closed")
	}
}

// What has left the plugin's group is beyond the host's reach, and keeps its output open.
func TestADaemonThatAPluginLeftBehindHoldsNobody(t *testing.T) {
	t.Parallel()
	log := &records{}
	p := part(t, "good")
	p.Logger, p.Limits.Shutdown = slog.New(log), 100*time.Millisecond
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	daemon := pidOf(t, value(t, a, "daemon"))
	defer syscall.Kill(daemon, syscall.SIGKILL)
	pid := r.Stats().PID
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "another process answers", func() bool { return value(t, a, "pid") != fmt.Sprint(pid) })
	if _, stuck := log.find("the plugin's process does not end, although it was killed"); stuck || !alive(daemon) {
		t.Errorf("the host waited for the daemon: %v; it runs: %v", stuck, alive(daemon))
	}
}

// Once a process was waited for, its number may be given to another.
func TestANumberThatMayBeSomebodyElsesIsNotKilled(t *testing.T) {
	t.Parallel()
	other := exec.CommandContext(t.Context(), "cat")
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	c := newChild(&Plugin{Logger: testLogger(t)})
	c.pid, c.reaped = other.Process.Pid, true
	c.kill()
	c.bury()
	answer := make([]byte, 1)
	if _, err := in.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := out.Read(answer); err != nil {
		t.Errorf("the other process: %v", err)
	}
	in.Close()
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
}

func TestAStartThatWasGivenUpBeforeItBeganStartsNothing(t *testing.T) {
	t.Parallel()
	run, err := newRunDir()
	if err != nil {
		t.Fatal(err)
	}
	defer run.remove()
	p := &Plugin{Path: "cat", Logger: testLogger(t)}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	c := newChild(p)
	if err := c.prepare(p, &image{path: cat}, run, nil, ""); err != nil {
		t.Fatal(err)
	}
	c.kill()
	if err := c.Start(t.Context()); err == nil || c.number() != 0 {
		t.Errorf("process %d, %v", c.number(), err)
		killGroup(c.number())
	}
	<-c.exited
}

// It kills its group, whatever becomes of the host meanwhile, and exits.
func TestAnOrderlyEndIsThePluginsOwn(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]time.Duration{"good": 20 * time.Second, "stays": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &records{}
			plugin := part(t, name)
			plugin.Logger, plugin.Limits.Shutdown = slog.New(log), limit
			r, err := Launch(t.Context(), plugin)
			if err != nil {
				t.Fatal(err)
			}
			r.mu.Lock()
			p := r.proc
			r.mu.Unlock()
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
			_, killed := log.find("the plugin does not end after its shutdown, and is killed")
			want := map[bool]string{false: "exit status 0", true: "signal: killed"}[name == "stays"]
			if state, _ := p.child.ending(); state != want || killed != (name == "stays") {
				t.Errorf("it ended with %q, and the host had to kill it: %v", state, killed)
			}
			p.child.mu.Lock()
			defer p.child.mu.Unlock()
			if !p.child.reaped {
				t.Error("its number would be sent a signal still")
			}
		})
	}
}

func TestOfWhatAPluginSaysAtFirstOnlySoMuchIsKept(t *testing.T) {
	t.Parallel()
	h := &head{limit: 5}
	for _, part := range []string{"abc", "defgh", "i"} {
		if n, err := h.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write: %d, %v", n, err)
		}
	}
	if h.String() != "abcde" {
		t.Errorf("%q is kept", h)
	}
}
