//go:build unix

package mcpool

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// leftovers are what a pool could leave behind. Where there is no /proc only
// goroutines are counted.
type leftovers struct{ goroutines, descriptors, children int }

func countLeftovers() (n leftovers) {
	n.goroutines = runtime.NumGoroutine()
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		n.descriptors = len(files)
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		var state string
		var parent int
		if _, rest, ok := strings.Cut(string(data), ") "); ok {
			if _, err := fmt.Sscan(rest, &state, &parent); err == nil && parent == os.Getpid() {
				n.children++
			}
		}
	}
	return n
}

// nothingLeft runs f and waits until goroutines, descriptors and child processes
// are no more than before. The tests that call it are not parallel, so that nothing
// else runs meanwhile.
func nothingLeft(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // or the runtime's own descriptors would be counted
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before := countLeftovers()
	f(t)
	var after leftovers
	deadline := time.Now().Add(time.Minute)
	for {
		after = countLeftovers()
		if after.goroutines <= before.goroutines && after.descriptors <= before.descriptors && after.children <= before.children {
			return
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("before %+v, after %+v\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestAPoolLeavesNothingBehind(t *testing.T) {
	for _, e := range []era{oldEra, modernEra, sseEra, "stdio"} {
		t.Run(string(e), func(t *testing.T) {
			nothingLeft(t, func(t *testing.T) {
				cfg := Config{Command: child("serve"), Min: 2, ConnectTimeout: time.Minute}
				if e != "stdio" {
					s := newServer(t, e)
					defer s.kill()
					cfg = Config{Endpoint: s.url(), SSE: e == sseEra, Min: 2, ConnectTimeout: time.Minute}
				}
				p, err := Open(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.WaitReady(t.Context()); err != nil {
					t.Error(err)
				}
				var wg sync.WaitGroup
				for i := range 8 {
					wg.Go(func() {
						if _, err := p.ListTools(t.Context(), WithIdentity(identityNamed(fmt.Sprint(i%3)))); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				held, err := p.Acquire(t.Context())
				if err != nil {
					t.Error(err)
				} else {
					held.Discard()
				}
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAPoolThatLosesItsServerLeavesNothingBehind(t *testing.T) {
	for _, e := range []era{oldEra, modernEra, sseEra} {
		t.Run(string(e), func(t *testing.T) {
			nothingLeft(t, func(t *testing.T) {
				s := newServer(t, e)
				defer s.kill()
				p, err := Open(t.Context(), Config{Endpoint: s.url(), SSE: e == sseEra, RestartGrace: Off, ConnectRetries: Off, ConnectTimeout: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := p.ListTools(t.Context()); err != nil {
					t.Error(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for i := range 6 {
					wg.Go(func() {
						own := ctx
						if i%2 == 0 {
							var stop context.CancelFunc
							own, stop = context.WithTimeout(ctx, 20*time.Millisecond)
							defer stop()
						}
						_, _ = p.Call(own, "hang", nil) // it fails, one way or another
					})
				}
				poll(t, "calls to run", func() bool { return s.ran("hang") >= 3 })
				s.kill()
				cancel()
				wg.Wait()
				if _, err := p.Call(t.Context(), "echo", nil); err == nil {
					t.Error("a call without a server went through")
				}
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAPoolThatDoesNotOpenLeavesNothingBehind(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"hangs": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // or the end of the connection goes unnoticed
			<-r.Context().Done()
		},
		"refuses":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"is broken": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"ends": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
		},
	}
	for name, answer := range answers {
		for _, e := range []era{oldEra, sseEra} {
			t.Run(name+" "+string(e), func(t *testing.T) {
				nothingLeft(t, func(t *testing.T) {
					s := newServer(t, e)
					defer s.kill()
					s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
						answer(w, r)
						return true
					})
					p, err := Open(t.Context(), Config{
						Endpoint: s.url(), SSE: e == sseEra, ConnectTimeout: 300 * time.Millisecond, ConnectRetries: Off,
					})
					if err == nil {
						t.Error("it opened")
						_ = p.Close(t.Context())
					}
				})
			})
		}
	}
	t.Run("a command that hangs", func(t *testing.T) {
		nothingLeft(t, func(t *testing.T) {
			_, err := Open(t.Context(), Config{Command: child("sleep"), ConnectTimeout: 300 * time.Millisecond, ConnectRetries: Off})
			if err == nil {
				t.Error("it opened")
			}
		})
	})
}
