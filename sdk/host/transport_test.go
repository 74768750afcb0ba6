//go:build unix

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// carrying is a plugin of the kind transport, and where its marks are.
type carrying struct {
	*Running

	dialer *Dialer
	state  string
}

func launchCarrier(t *testing.T, change func(*Plugin)) *carrying {
	t.Helper()
	p := part(t, "carrier")
	p.StateDir = t.TempDir()
	p.Limits.Drain, p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = 20*time.Millisecond, time.Millisecond, time.Millisecond, -1
	os.Chmod(p.StateDir, 0o700)
	if change != nil {
		change(&p)
	}
	r := launch(t, p)
	d, err := r.Transport(t.Context(), Instance{
		Name: "c", Config: map[string]any{"greeting": "hi", "wait": "1m30s"}, Secrets: map[string]auth.Secret{"key": auth.NewSecret("k3y")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &carrying{r, d, filepath.Join(p.StateDir, "instances", "i-c")}
}

func (c *carrying) marked(t *testing.T, name string) {
	t.Helper()
	eventually(t, "the plugin marks "+name, func() bool { return exists(filepath.Join(c.state, name)) })
}

func (c *carrying) dial(t *testing.T, open transport.Open) transport.Conn {
	t.Helper()
	conn, err := c.dialer.Dial(t.Context(), open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context()), transport.Done) })
	return conn
}

// receive is Receive, and fails the test if nothing comes.
func receive(t *testing.T, c transport.Conn) ([]byte, error) {
	t.Helper()
	type received struct {
		m   []byte
		err error
	}
	got := inTime(t, "a message arrives", func() received {
		m, err := c.Receive(t.Context())
		return received{m, err}
	})
	return got.m, got.err
}

// say sends a message and returns the answer.
func say(t *testing.T, c transport.Conn, message string) string {
	t.Helper()
	if err := c.Send(t.Context(), []byte(message)); err != nil {
		t.Fatalf("Send: %v", err)
	}
	m, err := receive(t, c)
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	return string(m)
}

// ends checks that a connection has ended for a reason.
func ends(t *testing.T, c transport.Conn, want transport.Reason) *transport.CloseError {
	t.Helper()
	for {
		_, err := receive(t, c)
		if err == nil {
			continue
		}
		e, ok := errors.AsType[*transport.CloseError](err)
		if !ok || e.Reason != want {
			t.Fatalf("Receive: %v, want a CloseError with the reason %v", err, want)
		}
		return e
	}
}

func TestASessionCarriesMessagesAndAllThatItWasOpenedWith(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	conn := c.dial(t, transport.Open{
		Target:   transport.Target{Name: "n", URL: "x://y"},
		Identity: transport.Identity{ID: "i", Attrs: map[string]string{"a": "b"}, Subject: func(context.Context) (string, error) { return "t0k", nil }},
		Header:   http.Header{"X-Many": {"1", "2\xff"}},
	})
	if got := say(t, conn, "about"); got != `n x://y i b ["1" "2\xff"] t0k hi k3y 1m30s` {
		t.Errorf("the plugin saw %s", got)
	}
	for i := range 40 { // more than the window
		if got := say(t, conn, fmt.Sprint("m", i)); got != fmt.Sprint("m", i) {
			t.Fatalf("got %q", got)
		}
	}
	if got := say(t, conn, ""); got != "" {
		t.Errorf("an empty message became %q", got)
	}
	if err := conn.Close(t.Context(), transport.ShuttingDown); err != nil {
		t.Errorf("Close: %v", err)
	}
	c.marked(t, "closed-shutting-down")
	if err := conn.Send(t.Context(), []byte("x")); !errors.Is(err, transport.ErrClosed) || !errors.Is(err, transport.ErrNotSent) {
		t.Errorf("Send after Close: %v", err)
	}
	ends(t, conn, transport.ShuttingDown)
	if err := conn.Close(t.Context(), transport.Done); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestLargeMessagesArriveWholeUpToTheLimitAndNoLarger(t *testing.T) {
	t.Parallel()
	const limit = 5<<20 + 17
	c := launchCarrier(t, func(p *Plugin) { p.Limits.MessageBytes = 1 << 20 }) // far less than a message
	conn := c.dial(t, transport.Open{MaxBytes: limit})
	for _, n := range []int{256 << 10, 512 << 10, 512<<10 + 1, 1 << 20, limit} {
		m := make([]byte, n)
		for i := range m {
			m[i] = byte(i * 7 >> 3)
		}
		if err := conn.Send(t.Context(), m); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		got, err := conn.Receive(t.Context())
		if err != nil || !bytes.Equal(got, m) {
			t.Fatalf("%d bytes became %d: %v", n, len(got), err)
		}
	}
	err := conn.Send(t.Context(), make([]byte, limit+1))
	if !errors.Is(err, transport.ErrTooLarge) || !errors.Is(err, transport.ErrNotSent) {
		t.Errorf("a message too large: %v", err)
	}
	if got := say(t, conn, "still there"); got != "still there" {
		t.Errorf("got %q", got)
	}
	if err := conn.Send(t.Context(), fmt.Appendf(nil, "big:%d", limit+1)); err != nil {
		t.Fatal(err)
	}
	if e := ends(t, conn, transport.ProtocolError); !errors.Is(e, transport.ErrTooLarge) {
		t.Errorf("the peer sent one too large: %v", e)
	}
}

func TestFaultsOfATransportKeepTheirTypes(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	_, err := c.dialer.Dial(t.Context(), transport.Open{Target: transport.Target{Name: "refuse"}})
	if e, ok := errors.AsType[*transport.RefusedError](err); !ok || e.Status != 401 || e.Problem != "no token: sorry" ||
		e.Header.Get("WWW-Authenticate") != "Bearer \xff" {
		t.Errorf("a refusal: %#v", err)
	}
	_, err = c.dialer.Dial(t.Context(), transport.Open{Target: transport.Target{Name: "config"}})
	if e, ok := errors.AsType[*transport.ConfigError](err); !ok || e.Field != "command" {
		t.Errorf("a faulty configuration: %#v", err)
	}
	_, err = c.Transport(t.Context(), Instance{Name: "d", Config: map[string]any{"refuse": "no"}})
	if e, ok := errors.AsType[*transport.ConfigError](err); !ok || e.Field != "refuse" || !strings.Contains(err.Error(), "key is no good") {
		t.Errorf("a refused instance: %v", err)
	}
	conn := c.dial(t, transport.Open{})
	for _, test := range []struct {
		order string
		is    []error
		not   []error
	}{
		{"notsent", []error{transport.ErrNotSent}, []error{transport.ErrClosed}},
		{"toolarge", []error{transport.ErrTooLarge, transport.ErrNotSent}, []error{transport.ErrClosed}},
		{"refusesend", []error{transport.ErrClosed, transport.ErrNotSent}, nil},
		{"panic", nil, []error{transport.ErrNotSent, transport.ErrClosed}},
	} {
		err := conn.Send(t.Context(), []byte(test.order))
		for _, is := range test.is {
			if !errors.Is(err, is) {
				t.Errorf("%s: %v is not %v", test.order, err, is)
			}
		}
		for _, not := range test.not {
			if err == nil || errors.Is(err, not) {
				t.Errorf("%s: %v is %v", test.order, err, not)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hush4711") {
			t.Errorf("a panic's value is shown: %v", err)
		}
	}
	if err := conn.Send(t.Context(), []byte("sessiongone")); err != nil {
		t.Fatal(err)
	}
	ends(t, conn, transport.SessionGone)
	conn = c.dial(t, transport.Open{})
	if err := conn.Send(t.Context(), []byte("oversize")); err != nil {
		t.Fatal(err)
	}
	ends(t, conn, transport.ProtocolError)
	conn = c.dial(t, transport.Open{Target: transport.Target{Name: "closefails"}})
	if err := conn.Close(t.Context(), transport.Done); err == nil || !strings.Contains(err.Error(), "something is left") {
		t.Errorf("Close: %v", err)
	}
	c.dial(t, transport.Open{Target: transport.Target{Name: "closefails"}})
	if err := c.dialer.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "something is left") {
		t.Errorf("Close of the dialer: %v", err)
	}
}

func TestAKillEndsASessionAndRepeatsNoMessage(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	conn := c.dial(t, transport.Open{})
	pid := c.Stats().PID
	sent := make(chan error, 1)
	go func() { sent <- conn.Send(t.Context(), []byte("stuck")) }()
	c.marked(t, "stuck")
	syscall.Kill(pid, syscall.SIGKILL)
	err := <-sent
	if e, ok := errors.AsType[*transport.CloseError](err); !ok || e.Reason != transport.PeerGone || e.NotSent {
		t.Errorf("the message that the plugin had: %v", err)
	}
	ends(t, conn, transport.PeerGone)
	if err := conn.Send(t.Context(), []byte("x")); !errors.Is(err, transport.ErrNotSent) {
		t.Errorf("a message after the end: %v", err)
	}
	if err := conn.Close(t.Context(), transport.Done); err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := say(t, c.dial(t, transport.Open{}), "pid"); got == fmt.Sprint(pid) {
		t.Error("the killed process answered")
	}
}

func TestAKillInTheMiddleOfAMessageProvesThatItWasNotSent(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	conn := c.dial(t, transport.Open{MaxBytes: 64 << 20})
	pid := c.Stats().PID
	stop(t, pid) // it takes in what the kernel holds for it, and no more
	sent := make(chan error, 1)
	go func() { sent <- conn.Send(t.Context(), make([]byte, 64<<20)) }()
	syscall.Kill(pid, syscall.SIGKILL)
	err := <-sent
	if e, ok := errors.AsType[*transport.CloseError](err); !ok || e.Reason != transport.PeerGone || !e.NotSent {
		t.Errorf("half a message: %v", err)
	}
}

func TestNoPartOfAMessageIsDeliveredWhenThePluginIsKilled(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	c := launchCarrier(t, nil)
	for range 3 {
		conn := c.dial(t, transport.Open{})
		if err := conn.Send(t.Context(), fmt.Appendf(nil, "big:%d", size)); err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			m, err := conn.Receive(t.Context())
			if errors.Is(err, transport.ErrClosed) {
				break
			}
			if err != nil || len(m) != size || bytes.Count(m, m[:1]) != size || m[0] != 'a'+byte(n%26) {
				t.Fatalf("message %d has %d bytes of %q: %v", n, len(m), m[:1], err)
			}
			if n == 2 {
				kill(c.Running)
			}
		}
	}
}

func TestASlowReaderHoldsBackThePeer(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	conn := c.dial(t, transport.Open{})
	const total = 100
	if err := conn.Send(t.Context(), fmt.Appendf(nil, "flood:%d", total)); err != nil {
		t.Fatal(err)
	}
	flooded := func() string {
		b, _ := os.ReadFile(filepath.Join(c.state, "flooded"))
		return string(b)
	}
	eventually(t, "the window is full", func() bool { return flooded() == fmt.Sprint(window) })
	if err := conn.Send(t.Context(), []byte("notsent")); !errors.Is(err, transport.ErrNotSent) {
		t.Errorf("messages the other way: %v", err)
	}
	for i := range total {
		m, err := receive(t, conn)
		if err != nil || string(m) != fmt.Sprint(i) {
			t.Fatalf("message %d: %q, %v", i, m, err)
		}
		var n int
		fmt.Sscan(flooded(), &n)
		if n > i+1+window {
			t.Fatalf("the peer is %d messages ahead, the window has %d", n-i-1, window)
		}
	}
}

func TestCallsOfASessionEndWithTheirContexts(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	dialled := make(chan error, 1)
	go func() {
		_, err := c.dialer.Dial(ctx, transport.Open{Target: transport.Target{Name: "hang"}})
		dialled <- err
	}()
	c.marked(t, "hanging")
	cancel()
	if err := <-dialled; !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: %v", err)
	}
	c.marked(t, "freed")

	conn := c.dial(t, transport.Open{})
	ctx, cancel = context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() { sent <- conn.Send(ctx, []byte("stuck")) }()
	c.marked(t, "stuck")
	late, cancelLate := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancelLate()
	if err := conn.Send(late, []byte("behind it")); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, transport.ErrNotSent) {
		t.Errorf("Send behind one that is stuck: %v", err)
	}
	cancel()
	if err := <-sent; !errors.Is(err, context.Canceled) || errors.Is(err, transport.ErrNotSent) {
		t.Errorf("Send: %v", err)
	}
	c.marked(t, "unstuck")
	if _, err := conn.Receive(late); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Receive: %v", err)
	}
	if got := say(t, conn, "and on"); got != "and on" {
		t.Errorf("got %q", got)
	}
}

// A message that takes long is sent beside who listens for the next. Afterwards one
// listens, not two: they would share the pieces of a message.
func TestMessagesArriveWholeAfterOnesThatTookLong(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, func(p *Plugin) { p.Limits.MessageBytes = 128 << 10 })
	conn := c.dial(t, transport.Open{})
	want := strings.Repeat("x", 3<<20)
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		sent := make(chan error, 1)
		go func() { sent <- conn.Send(ctx, []byte("stuck")) }()
		c.marked(t, "stuck") // and the cancellation arrives, so that somebody listens
		cancel()
		<-sent
		c.marked(t, "unstuck")
		os.Remove(filepath.Join(c.state, "stuck"))
		os.Remove(filepath.Join(c.state, "unstuck"))
		if got := say(t, conn, want); got != want {
			t.Fatalf("%d bytes became %d", len(want), len(got))
		}
	}
}

func TestCloseFreesCallsThatBlock(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	conn := c.dial(t, transport.Open{})
	var calls sync.WaitGroup
	calls.Go(func() {
		if err := conn.Send(t.Context(), []byte("stuck")); !errors.Is(err, transport.ErrClosed) {
			t.Errorf("Send: %v", err)
		}
	})
	calls.Go(func() { ends(t, conn, transport.Done) })
	c.marked(t, "stuck")
	if err := conn.Close(t.Context(), transport.Done); err != nil {
		t.Errorf("Close: %v", err)
	}
	calls.Wait()
}

func TestCloseOfASessionEndsWhenThePluginIsStopped(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, func(p *Plugin) { p.Limits.Shutdown = 500 * time.Millisecond })
	conn := c.dial(t, transport.Open{})
	pid := c.Stats().PID
	stop(t, pid)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := inTime(t, "Close returns", func() error { return conn.Close(ctx, transport.Done) })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	syscall.Kill(pid, syscall.SIGCONT)
}

func TestSessionsEndWhenTheirPluginIsReplacedOrClosed(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	conn := c.dial(t, transport.Open{})
	next := part(t, "carrier2")
	next.StateDir = filepath.Dir(filepath.Dir(c.state))
	next.Limits.Drain = 20 * time.Millisecond
	if err := c.Replace(t.Context(), next); err == nil || !strings.Contains(err.Error(), "was replaced, but") {
		t.Fatalf("Replace with a session under way: %v", err)
	}
	ends(t, conn, transport.ShuttingDown)
	conn = c.dial(t, transport.Open{Identity: transport.Identity{Subject: func(context.Context) (string, error) {
		t.Error("the subject was asked for, and the plugin does not want it")
		return "", nil
	}}})
	if got := say(t, conn, "about"); !strings.Contains(got, "none hi") {
		t.Errorf("the plugin saw %s", got)
	}
	if err := os.Remove(filepath.Join(c.state, "dialer-closed")); err != nil { // by the first process
		t.Error(err)
	}
	if err := c.dialer.Close(t.Context()); err != nil {
		t.Errorf("Close of the dialer: %v", err)
	}
	ends(t, conn, transport.ShuttingDown)
	c.marked(t, "dialer-closed")
	if _, err := c.dialer.Dial(t.Context(), transport.Open{}); err == nil {
		t.Error("a closed dialer dials")
	}
}

func TestDiallingIsRepeatedWhenThePluginDies(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	asked := 0
	open := transport.Open{Target: transport.Target{Name: "exitonce"}, Identity: transport.Identity{
		Subject: func(context.Context) (string, error) { asked++; return "t0k", nil },
	}}
	if got := say(t, c.dial(t, open), "x"); got != "x" || asked != 1 {
		t.Errorf("got %q, and the subject was asked for %d times", got, asked)
	}
}

func TestSessionsOfOneProcessDoNotDisturbEachOtherConcurrentSafe(t *testing.T) {
	t.Parallel()
	c := launchCarrier(t, nil)
	stuck := c.dial(t, transport.Open{})
	var all sync.WaitGroup
	all.Go(func() { _ = stuck.Send(t.Context(), []byte("stuck")) })
	c.marked(t, "stuck")
	flooded := c.dial(t, transport.Open{})
	if err := flooded.Send(t.Context(), []byte("big:3000000")); err != nil {
		t.Fatal(err)
	}
	var others sync.WaitGroup
	for n := range 6 {
		others.Go(func() {
			conn, err := c.dialer.Dial(t.Context(), transport.Open{})
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 30 {
				want := strings.Repeat(fmt.Sprint(n, i, "-"), 1+i*100)
				if got := say(t, conn, want); got != want {
					t.Errorf("session %d message %d: %d bytes, want %d", n, i, len(got), len(want))
				}
			}
			if err := conn.Close(t.Context(), transport.Done); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	others.Wait()
	_ = stuck.Close(t.Context(), transport.Done)
	all.Wait()
}
