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
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), request("x"), hr); err != nil || r.Stats().Starts != 1 {
		t.Errorf("when it goes on: %v, %d starts", err, r.Stats().Starts)
	}
}
