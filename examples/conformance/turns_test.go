package main

import (
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// turns lets as many clients run at once as there are processors, and hears how they
// end. A client that dies gives its turn back with its connection.
type turns struct {
	addr string
	free chan struct{}

	mu   sync.Mutex
	ends map[string]string // guarded by mu; by scenario
}

func takeTurns(t *testing.T) *turns {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tt := &turns{addr: l.Addr().String(), free: make(chan struct{}, runtime.NumCPU()), ends: make(map[string]string)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { tt.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return tt
}

func (tt *turns) serve(conn net.Conn) {
	defer conn.Close()
	tt.free <- struct{}{}
	defer func() { <-tt.free }()
	if _, err := conn.Write([]byte{1}); err != nil {
		return
	}
	said, _ := io.ReadAll(conn) // a client that crashed says nothing
	scenario, end, _ := strings.Cut(string(said), " client ")
	tt.mu.Lock()
	defer tt.mu.Unlock()
	tt.ends[scenario] += end
}

// ending is how the client of a scenario ended.
func (tt *turns) ending(scenario string) string {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	if end := tt.ends[scenario]; end != "" {
		return end
	}
	return "crash"
}
