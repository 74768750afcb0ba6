package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	execwrap "github.com/go-mcpool/mcpool/plugins/transport/exec"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// everyRoad runs a test by each road of a Dialer in both eras, each in a world of its
// own whose connections live for as many bytes as budget says.
func everyRoad(t *testing.T, budget func() int64, f func(t *testing.T, w *world, cfg mcpool.Config)) {
	t.Helper()
	for _, name := range []string{"websocket", "ssh", "exec", "plugin"} {
		for _, version := range []string{versionOld, versionModern} {
			t.Run(name+"/"+version, func(t *testing.T) {
				t.Parallel()
				w, err := newWorld(t.Context(), budget)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(w.close)
				if w.binary, err = theBinary(); err != nil {
					t.Fatal(err)
				}
				roads, err := w.roads(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				road := roads[slices.IndexFunc(roads, func(r road) bool { return r.name == name })]
				if road.missing != "" {
					if name == "ssh" && os.Getenv("MCPOOL_REQUIRE_SSHD") == "1" {
						t.Fatalf("MCPOOL_REQUIRE_SSHD is set, and %s", road.missing)
					}
					t.Skip(road.missing)
				}
				cfg := road.config(version)
				if name == "exec" && budget != nil {
					cfg.Dialer = w.dying(t, budget)
				}
				f(t, w, cfg)
			})
		}
	}
}

func open(t *testing.T, cfg mcpool.Config) *mcpool.Pool {
	t.Helper()
	p, err := mcpool.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
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

// runs counts the work by name.
func (n notebook) runs() map[string]int {
	b, _ := os.ReadFile(n.ledger()) // none yet is none
	counts := make(map[string]int)
	for name := range strings.Lines(string(b)) {
		counts[strings.TrimSuffix(name, "\n")]++
	}
	return counts
}

func TestQuestionsAndProgressReachTheCallerTheyAreFor(t *testing.T) {
	t.Parallel()
	everyRoad(t, nil, func(t *testing.T, _ *world, cfg mcpool.Config) {
		p := open(t, cfg)
		if got := p.Stats().Protocol; got != cfg.ProtocolVersion {
			t.Errorf("speaks %q", got)
		}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				about := fmt.Sprintf("question %d", i)
				res, err := p.Call(t.Context(), "ask", map[string]any{"text": about}, answers()...)
				if err != nil {
					t.Errorf("%s: %v", about, err)
					return
				}
				if got, want := saidIn(res.Content[0]), "the user heard "+about+" and the model heard "+about; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
		wg.Wait()
		for i := range 3 {
			about, heard := fmt.Sprintf("step %d", i), make(chan string, 16)
			// What is told at the end of a call may come too late for it: then it is told again.
			poll(t, "progress", func() bool {
				_, err := p.Call(t.Context(), "progress", map[string]any{"text": about},
					mcpool.WithProgress(func(_ context.Context, n *mcp.ProgressNotificationParams) { heard <- n.Message }))
				if err != nil {
					t.Fatal(err)
				}
				select {
				case got := <-heard:
					if got != about {
						t.Errorf("the caller of %q was told %q", about, got)
					}
					return true
				default:
					return false
				}
			})
		}
	})
}

func TestANewToolIsHeardOf(t *testing.T) {
	t.Parallel()
	everyRoad(t, nil, func(t *testing.T, w *world, cfg mcpool.Config) {
		changed := make(chan mcpool.SchemaChange, 64)
		cfg.Max, cfg.Min = 1, 1
		cfg.OnSchemaChanged = func(c mcpool.SchemaChange) { changed <- c }
		cfg.ToolsTTL = time.Hour // so that it is heard of, or not at all
		p := open(t, cfg)
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		tell := w.leash.tell
		if cfg.Name == "websocket" || cfg.Name == "plugin" { // where all sessions have one server
			tell = func(name string) {
				if _, err := p.Call(t.Context(), "learn", map[string]any{"text": name}); err != nil {
					t.Fatal(err)
				}
			}
		}
		n, told := 0, time.Time{}
		// The listener opens beside us, so the first may go unheard. The next waits for a
		// list to be fetched, which a change in the middle of it would undo.
		poll(t, "the change to be heard of", func() bool {
			if time.Since(told) > 3*time.Second {
				n, told = n+1, time.Now()
				tell(fmt.Sprintf("new-%d", n))
			}
			select {
			case c := <-changed:
				if len(c.Added) == 0 || !strings.HasPrefix(c.Added[0], "new-") || len(c.Removed) > 0 {
					t.Errorf("told of %+v", c)
				}
				return true
			default:
				return false
			}
		})
	})
}

func TestACancelledCallIsCancelledAtTheServerAndNobodyElseNotices(t *testing.T) {
	t.Parallel()
	everyRoad(t, nil, func(t *testing.T, w *world, cfg mcpool.Config) {
		cfg.Max, cfg.Min = 1, 1
		p := open(t, cfg)
		if err := echo(t.Context(), p, "before"); err != nil {
			t.Fatal(err)
		}
		opened := p.Stats().Sessions.Opened
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := p.Call(ctx, "hang", map[string]any{"text": "it"})
			failed <- err
		}()
		poll(t, "the call to begin", func() bool { return w.notes.runs()["it began"] == 1 })
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller got %v", err)
		}
		poll(t, "the server to be told", func() bool { return w.notes.runs()["it ended"] == 1 })
		if err := echo(t.Context(), p, "after"); err != nil {
			t.Error(err)
		}
		if got := p.Stats().Sessions.Opened; got != opened {
			t.Errorf("%d sessions were opened, %d before", got, opened)
		}
	})
}

// dying is a dialer whose wrapper dies after a number of bytes, wherever that is.
func (w *world) dying(t *testing.T, budget func() int64) transport.Dialer {
	t.Helper()
	return dialerFunc(func(ctx context.Context, open transport.Open) (transport.Conn, error) {
		d, err := execwrap.New(execwrap.Config{Command: append([]string{w.self, wrapFlag, fmt.Sprint(budget())}, w.command()...)})
		if err != nil {
			return nil, err
		}
		return d.Dial(ctx, open)
	})
}

type dialerFunc func(ctx context.Context, open transport.Open) (transport.Conn, error)

func (f dialerFunc) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	return f(ctx, open)
}

const wrapFlag = "-wrap"

// runWrapper is a wrapper that passes so many bytes, in both directions together, and
// then dies on the spot.
func runWrapper(budget int64, command []string) {
	cmd := exec.Command(command[0], command[1:]...)
	in, failed := cmd.StdinPipe()
	out, err := cmd.StdoutPipe()
	if failed != nil || err != nil || cmd.Start() != nil {
		os.Exit(2)
	}
	var left atomic.Int64
	left.Store(budget)
	carry := func(write func([]byte) (int, error), read func([]byte) (int, error)) {
		buf := make([]byte, 4<<10)
		for {
			n, err := read(buf)
			if rest := left.Add(-int64(n)); rest < 0 {
				_, _ = write(buf[:max(0, n+int(rest))])
				os.Exit(9)
			}
			if _, failed := write(buf[:n]); failed != nil || err != nil {
				return
			}
		}
	}
	go func() {
		carry(in.Write, os.Stdin.Read)
		_ = in.Close()
	}()
	carry(os.Stdout.Write, out.Read)
	_ = cmd.Wait()
}

func TestNothingIsLostOrDoubledWhenThePeerDiesInMidMessage(t *testing.T) {
	t.Parallel()
	// Enough for any handshake, and at most some dozens of calls.
	everyRoad(t, func() int64 { return 40<<10 + rand.Int64N(60<<10) }, func(t *testing.T, w *world, cfg mcpool.Config) {
		cfg.Max, cfg.CircuitFailures, cfg.NoListener = 4, mcpool.Off, true
		p := open(t, cfg)
		var done, uncertain atomic.Int32
		var wg sync.WaitGroup
		long := " " + strings.Repeat("x", 3000) // so that most cuts fall into the middle of one
		for g := range 8 {
			wg.Go(func() {
				for i := range 40 {
					name := fmt.Sprintf("%d-%d", g, i)
					res, err := p.Call(t.Context(), "book", map[string]any{"text": name + long})
					switch times := w.notes.runs()[name]; {
					case err == nil:
						done.Add(1)
						if got := saidIn(res.Content[0]); got != name || times != 1 {
							t.Errorf("%s: answer %q, ran %d times", name, got, times)
						}
					case errors.Is(err, mcpool.ErrMayHaveRun):
						uncertain.Add(1)
					default:
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
		wg.Wait()
		if err := p.Close(t.Context()); err != nil { // whatever was under way is over then
			t.Error(err)
		}
		for name, times := range w.notes.runs() {
			if times != 1 {
				t.Errorf("%s ran %d times", name, times)
			}
		}
		t.Logf("%d done, %d uncertain, %d sessions", done.Load(), uncertain.Load(), p.Stats().Sessions.Opened)
		if uncertain.Load() == 0 || done.Load() == 0 || p.Stats().Sessions.Opened < 4 {
			t.Error("hardly anything was cut: the test has lost its point")
		}
	})
}
