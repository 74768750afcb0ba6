//go:build unix

package host

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// A call is sent in its caller's goroutine. If the plugin takes nothing any more, no
// caller may be caught in that: each has to come back when its context ends.
func TestSignaturesThatNobodyTakesHoldNoCaller(t *testing.T) {
	r := launch(t, part(t, "good"))
	s, ok := auth.AsSigner(open(t, r, Instance{Name: "a"}))
	if !ok {
		t.Fatal("it does not sign")
	}
	hr := auth.HTTPRequest{Method: "GET", URL: "https://api.example/", Header: http.Header{"X-Large": {strings.Repeat("x", 16<<10)}}}
	for range 50 { // the stream is open, and what was answered counts for nothing
		if _, err := s.Sign(t.Context(), request("x"), hr); err != nil {
			t.Fatal(err)
		}
	}
	pid := r.Stats().PID
	stop(t, pid)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	mux := r.proc.signing
	var callers sync.WaitGroup
	for n := range 100 { // more than gRPC and the kernel hold
		callers.Go(func() {
			if _, err := s.Sign(ctx, request("x"), hr); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		eventually(t, "the call begins", func() bool {
			mux.mu.Lock()
			defer mux.mu.Unlock()
			return len(mux.pending) > n
		})
	}
	cancel()
	callers.Wait()
	mux.mu.Lock()
	for _, o := range mux.queue {
		if o.w != nil {
			t.Error("a call that was given up is still to be sent")
			break
		}
	}
	if n := len(mux.pending); n > 0 {
		t.Errorf("%d calls that were given up are remembered", n)
	}
	mux.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), request("x"), hr); err != nil || r.Stats().Starts != 1 {
		t.Errorf("when it goes on: %v, %d starts", err, r.Stats().Starts)
	}
}

// The first of them are answered where they are received.
func TestASlowSignatureStandsInNobodysWay(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	s, _ := auth.AsSigner(a)
	hr := auth.HTTPRequest{Method: "GET", URL: "https://api.example/"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var slow sync.WaitGroup
	for range 5 {
		slow.Go(func() {
			if _, err := s.Sign(ctx, request("hang"), hr); !errors.Is(err, context.Canceled) {
				t.Errorf("the slow one: %v", err)
			}
		})
		var quick sync.WaitGroup
		for range 10 {
			quick.Go(func() {
				for range 5 {
					if _, err := s.Sign(t.Context(), request("x"), hr); err != nil {
						t.Errorf("a quick one: %v", err)
					}
				}
			})
		}
		quick.Wait()
	}
	cancel()
	slow.Wait()
	eventually(t, "the plugin hears that they were given up", func() bool { return value(t, a, "letgo") == "5" })
}

func TestTheDefaultDeadlineEndsASignatureOfAStoppedPlugin(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.Call, p.Limits.Health = 50*time.Millisecond, -1
	p.Limits.Drain, p.Limits.Shutdown = 10*time.Millisecond, 500*time.Millisecond
	r := launch(t, p)
	within, done := context.WithTimeout(t.Context(), time.Minute) // opening has to take as long as it likes
	defer done()
	a, err := r.Auth(within, Instance{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := auth.AsSigner(a)
	stop(t, r.Stats().PID)
	for range 3 {
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				_, err := s.Sign(context.Background(), request("x"), auth.HTTPRequest{Method: "GET", URL: "https://api.example/"})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	}
}

func TestEachSignatureEndsWhenItIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newSignMux(nil, 1<<10)
		m.started = true // nothing is ever sent
		began := time.Now()
		for _, d := range []time.Duration{3 * time.Second, time.Second, 2 * time.Second} {
			go func() {
				_, err := m.sign(t.Context(), began.Add(d), nil)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != d {
					t.Errorf("due after %v, it ended after %v: %v", d, time.Since(began), err)
				}
			}()
			synctest.Wait()
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if len(m.pending) > 0 || len(m.queue) > 0 {
			t.Errorf("%d are pending, %d queued", len(m.pending), len(m.queue))
		}
		m.close()
	})
}
