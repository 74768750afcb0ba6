//go:build unix

package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func secrets(pairs ...string) map[string]auth.Secret {
	m := make(map[string]auth.Secret)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = auth.NewSecret(pairs[i+1])
	}
	return m
}

func mustDial(t *testing.T, cfg Config, open transport.Open) transport.Conn {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background(), transport.Done); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

func hello(t *testing.T, c transport.Conn) {
	t.Helper()
	err := c.Send(t.Context(), []byte(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.Receive(t.Context())
	if err != nil || !strings.Contains(string(msg), `"serverInfo"`) {
		t.Fatalf("initialize: %q, %v", msg, err)
	}
	if err := c.Send(t.Context(), []byte("{\"jsonrpc\":\"2.0\",\n\"method\":\"notifications/initialized\"}")); err != nil { // on two lines
		t.Fatal(err)
	}
}

func echo(t *testing.T, c transport.Conn, id int, text string) {
	t.Helper()
	req, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": map[string]any{"name": "echo", "arguments": map[string]any{"text": text}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	msg, err := c.Receive(t.Context())
	if err != nil || !strings.Contains(string(msg), `"text":"`+text+`"`) || !strings.Contains(string(msg), fmt.Sprintf(`"id":%d`, id)) {
		t.Errorf("call %d: %.300q, %v", id, msg, err)
	}
}

// running tells whether a process is there and does not only wait to be noticed.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func poll(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestAServerIsReachedThroughWrappers(t *testing.T) {
	t.Parallel()
	for name, wrapper := range map[string][]string{
		"bare":    {"${program}"},
		"sh":      {"sh", "-c", `"$0"`, "${program}"},
		"env":     {"env", "-u", "NOTHING", "${program}"},
		"setsid":  {"setsid", "sh", "-c", `"$0"`, "${program}"},
		"unshare": {"unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "${program}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(wrapper[0]); err != nil && name != "bare" {
				t.Skipf("%s is not installed", wrapper[0])
			}
			if name == "unshare" && exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "true").Run() != nil {
				t.Skip("this system does not allow user namespaces")
			}
			wrapper := append([]string(nil), wrapper...)
			if name == "bare" {
				wrapper = []string{os.Args[0]}
			}
			c := mustDial(t, Config{
				Command: wrapper, Values: map[string]string{"program": os.Args[0]}, Env: secrets(childEnv, "serve"),
			}, transport.Open{})
			hello(t, c)
			for i, size := range []int{1, 300, 60 << 10, 300 << 10} {
				echo(t, c, 10+i, strings.Repeat("x", size))
			}
		})
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	for name, wrapper := range map[string][]string{
		"in its group": {"sh", "-c", `"$0"; true`},
		"in its own":   {"sh", "-c", `setsid "$0" & wait`}, // the command leaves the group
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("setsid"); err != nil && name == "in its own" {
				t.Skip("setsid is not installed")
			}
			if _, err := os.Stat("/proc/self/environ"); err != nil && name == "in its own" {
				t.Skip("no /proc: what left its group cannot be found")
			}
			file := filepath.Join(t.TempDir(), "pid")
			part := map[string]string{"in its group": "breeder", "in its own": "sleep"}[name]
			if part == "sleep" {
				wrapper = []string{"sh", "-c", `setsid "$0" & echo $! >"$PIDFILE"; wait`}
			}
			c := mustDial(t, Config{
				Command: append(append([]string(nil), wrapper...), os.Args[0]), StopTimeout: 20 * time.Millisecond,
				Env: secrets(childEnv, part, "PIDFILE", file),
			}, transport.Open{})
			pid := 0
			poll(t, "the process to be there", func() bool {
				b, _ := os.ReadFile(file)
				pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
				return pid != 0 && running(pid)
			})
			if err := c.Close(t.Context(), transport.Done); err != nil {
				t.Error(err)
			}
			poll(t, "the process to be gone", func() bool { return !running(pid) })
		})
	}
}

func TestAProgramThatDiesIsNamedWithItsLastWords(t *testing.T) {
	t.Parallel()
	c := mustDial(t, Config{
		Command: []string{os.Args[0]}, Env: secrets(childEnv, "crash", "SECRET", "hunter2hunter2"),
		StopTimeout: time.Minute, // how long its status and its last words may take
	}, transport.Open{})
	_, err := c.Receive(t.Context())
	var closed *transport.CloseError
	if !errors.As(err, &closed) || closed.Reason != transport.PeerGone || !strings.Contains(err.Error(), "exit status 3") ||
		!strings.Contains(err.Error(), "the config is wrong") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	poll(t, "sending to fail", func() bool {
		err = c.Send(t.Context(), []byte("{}"))
		return err != nil
	})
	if !errors.Is(err, transport.ErrClosed) || !errors.Is(err, transport.ErrNotSent) {
		t.Errorf("Send: %v", err)
	}
}

func TestAProgramThatDiesInMidMessageDeliversNoPart(t *testing.T) {
	t.Parallel()
	c := mustDial(t, Config{Command: []string{os.Args[0]}, Env: secrets(childEnv, "half")}, transport.Open{})
	if msg, err := c.Receive(t.Context()); err != nil || string(msg) != "{}" {
		t.Fatalf("the whole message: %q, %v", msg, err)
	}
	for range 2 {
		if msg, err := c.Receive(t.Context()); !errors.Is(err, transport.ErrClosed) || msg != nil {
			t.Errorf("the half: %q, %v", msg, err)
		}
	}
}

func TestAProgramThatDoesNotReadHoldsUpTheSender(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"context", "time-out", "close"} {
		cfg := Config{Command: []string{os.Args[0]}, Env: secrets(childEnv, "deaf"), StopTimeout: 10 * time.Millisecond}
		if by == "time-out" {
			cfg.SendTimeout = 20 * time.Millisecond
		}
		c := mustDial(t, cfg, transport.Open{})
		ctx, cancel := context.WithCancel(t.Context())
		switch by {
		case "context":
			time.AfterFunc(20*time.Millisecond, cancel)
		case "close":
			time.AfterFunc(20*time.Millisecond, func() { _ = c.Close(context.Background(), transport.Done) })
		}
		if err := c.Send(ctx, make([]byte, 4<<20)); !errors.Is(err, transport.ErrNotSent) {
			t.Errorf("%s: %v", by, err)
		}
		cancel()
	}
}

func TestMessagesAreHeldToTheLimit(t *testing.T) {
	t.Parallel()
	c := mustDial(t, Config{Command: []string{"sh", "-c", `cat; exec sleep 100`}, StopTimeout: 10 * time.Millisecond}, transport.Open{MaxBytes: 10})
	if err := c.Send(t.Context(), make([]byte, 11)); !errors.Is(err, transport.ErrTooLarge) || errors.Is(err, transport.ErrClosed) {
		t.Errorf("one too many: %v", err)
	}
	if err := c.Send(t.Context(), []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if msg, err := c.Receive(t.Context()); err != nil || string(msg) != "0123456789" {
		t.Errorf("%q, %v", msg, err)
	}
	loud := mustDial(t, Config{Command: []string{"sh", "-c", `echo 01234567890; exec sleep 100`}, StopTimeout: 10 * time.Millisecond}, transport.Open{MaxBytes: 10})
	var closed *transport.CloseError
	if _, err := loud.Receive(t.Context()); !errors.As(err, &closed) || closed.Reason != transport.ProtocolError || !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("received one too many: %v", err)
	}
}

func TestValuesStayOneArgumentAndAfterIsRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "after")
	open := transport.Open{
		Target:   transport.Target{Name: "tools", URL: "x://y"},
		Identity: transport.Identity{ID: "al ice; $(touch /nowhere)", Attrs: map[string]string{"tenant": "t"}},
	}
	c := mustDial(t, Config{
		Command: []string{"sh", "-c", `printf '%s|' "$@"; echo; exec cat`, "sh", "${identity.id}", "a-${identity.attrs.tenant}", "${target.name}", "${target.url}", "${v}"},
		After:   []string{"sh", "-c", `echo "$1" >"$2"`, "sh", "${identity.attrs.tenant}", "${file}"},
		Values:  map[string]string{"v": "${identity.id}", "file": file},
	}, open)
	msg, err := c.Receive(t.Context())
	if want := "al ice; $(touch /nowhere)|a-t|tools|x://y|${identity.id}|"; err != nil || string(msg) != want {
		t.Errorf("got %q, %v, want %q", msg, err, want)
	}
	if err := c.Close(t.Context(), transport.Done); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "t\n" {
		t.Errorf("After wrote %q, %v", b, err)
	}
}

func TestAValueDoesNotBecomeAnOption(t *testing.T) {
	t.Parallel()
	d, err := New(Config{Command: []string{"echo", "${identity.id}", "x${identity.id}", "${identity.attrs.a}"}})
	if err != nil {
		t.Fatal(err)
	}
	var fault *transport.ConfigError
	here := map[string]string{"a": "b"}
	for words, id := range map[string]transport.Identity{
		"begins with a dash": {ID: "-rf", Attrs: here}, "does not have": {ID: "fine"}, "zero byte": {ID: "a\x00b", Attrs: here},
	} {
		if _, err := d.Dial(t.Context(), transport.Open{Identity: id}); !errors.As(err, &fault) || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v", id.ID, err)
		}
	}
}

func TestEveryFaultOfAConfigIsNamed(t *testing.T) {
	t.Parallel()
	_, err := New(Config{
		Command: []string{"no-such-program-anywhere", "${nothing}"}, After: []string{"also-no-such-program"},
		Env: secrets("a=b", "x"), Dir: filepath.Join(t.TempDir(), "none"), StopTimeout: -1, SendTimeout: -2,
	})
	for _, field := range []string{"Command", "After", "Env", "Dir", "StopTimeout", "SendTimeout", "${nothing}"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a Config without a command was taken")
	}
}
