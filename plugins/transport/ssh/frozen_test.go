//go:build unix

package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// frozen is a proxy that stops carrying anything when told to, and closes nothing.
type frozen struct {
	addr string
	came atomic.Int64 // times that something came from the server
	stop chan struct{}
}

func startFrozen(t *testing.T, to string) *frozen {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &frozen{addr: l.Addr().String(), stop: make(chan struct{})}
	var all sync.WaitGroup
	carry := func(dst io.Writer, src io.Reader, came func()) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			select {
			case <-f.stop:
				return
			default:
			}
			if err != nil {
				return
			}
			came()
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	all.Go(func() {
		a, err := l.Accept()
		if err != nil {
			return
		}
		defer a.Close()
		b, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer b.Close()
		all.Go(func() { carry(b, a, func() {}) })
		all.Go(func() { carry(a, b, func() { f.came.Add(1) }) })
		<-t.Context().Done() // nothing is closed before
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return f
}

// throughFrozen is a Config that dials by way of a proxy.
func (s *sshd) throughFrozen(t *testing.T) (Config, *frozen) {
	t.Helper()
	f := startFrozen(t, s.addr)
	cfg := s.config("serve")
	cfg.Address, cfg.KnownHosts = f.addr, []string{s.knows(t, f.addr)}
	return cfg, f
}

func TestALineThatIsSilentlyGoneIsNoticed(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	cfg, line := s.throughFrozen(t)
	// A time-out that comes early, on a slow machine, cuts a line that is well, and
	// shows no less.
	cfg.KeepAlive, cfg.KeepAliveTimeout = 5*time.Millisecond, 50*time.Millisecond
	c := mustDial(t, cfg)
	close(line.stop)
	if _, err := c.Receive(t.Context()); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestALineThatIsWellIsKept(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	cfg, line := s.throughFrozen(t)
	cfg.KeepAlive, cfg.KeepAliveTimeout = time.Millisecond, time.Hour
	c := mustDial(t, cfg)
	hello(t, c)
	came := line.came.Load()
	poll(t, "the server to answer what keeps the line alive", func() bool { return line.came.Load() > came+20 })
	if err := c.Send(t.Context(), []byte(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	if msg, err := c.Receive(t.Context()); err != nil || !strings.Contains(string(msg), `"id":2`) {
		t.Fatalf("%q, %v", msg, err)
	}
}

func TestALineThatWasWellIsStillWatched(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	cfg, line := s.throughFrozen(t)
	cfg.KeepAlive, cfg.KeepAliveTimeout = time.Millisecond, 500*time.Millisecond
	c := mustDial(t, cfg)
	received := make(chan error, 1)
	go func() {
		_, err := c.Receive(context.Background())
		received <- err
	}()
	came := line.came.Load()
	// As above: on a slow machine it may be cut before.
	poll(t, "the server to answer several times", func() bool { return line.came.Load() > came+20 || len(received) > 0 })
	close(line.stop)
	if err := <-received; !errors.Is(err, transport.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
