package exec

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// A command that does not read does not notice the end of its stdin.
func TestACommandEndsWithTheProcessThatRunsIt(t *testing.T) {
	t.Parallel()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), childEnv+"=parent")
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanln(bufio.NewReader(out), &pid); err != nil {
		t.Errorf("the parent says nothing: %v", err)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	poll(t, "the process to be gone", func() bool { return !running(pid) })
}

func TestACommandEndsWithThePluginThatRunsIt(t *testing.T) {
	t.Parallel()
	r, err := host.Launch(t.Context(), host.Plugin{Path: plugintest.Build(t, "./cmd/mcpool-transport-exec"), Env: []string{"PATH"}, AllowUnverified: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	d, err := r.Transport(t.Context(), host.Instance{Name: "a", Config: map[string]any{"command": []string{"sh", "-c", "echo $$; exec sleep 3600"}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), transport.Open{})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.Receive(t.Context())
	pid, scan := strconv.Atoi(string(msg))
	if err != nil || scan != nil {
		t.Fatalf("%q, %v", msg, err)
	}
	if err := syscall.Kill(r.Stats().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	poll(t, "the process to be gone", func() bool { return !running(pid) })
	_ = c.Close(t.Context(), transport.Done) // its plugin is gone
}

// Who dials may do so in a thread that ends before the session does.
func TestACommandOutlivesTheThreadThatDialled(t *testing.T) {
	t.Parallel()
	d, err := New(Config{Command: []string{os.Args[0]}, Env: secrets(childEnv, "serve")})
	if err != nil {
		t.Fatal(err)
	}
	var tid int
	dialled := make(chan transport.Conn)
	dial := func() {
		tid = syscall.Gettid()
		c, err := d.Dial(t.Context(), transport.Open{})
		if err != nil {
			t.Error(err)
		}
		dialled <- c
	}
	go func() {
		runtime.LockOSThread()
		if syscall.Gettid() != syscall.Getpid() {
			dial()
			return // locked: the thread ends with it
		}
		defer runtime.UnlockOSThread() // the first thread never ends: another has to be taken
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
			dial()
		}()
		<-done
	}()
	c := <-dialled
	if c == nil {
		return
	}
	t.Cleanup(func() { _ = c.Close(context.Background(), transport.Done) })
	poll(t, "the thread to end", func() bool {
		_, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid))
		return os.IsNotExist(err)
	})
	hello(t, c)
}
