package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"sync"
)

// leash is how the server's processes on stdio are ended as a crash would end them,
// wherever they were started: each holds a connection to it, and exits on the spot when
// that is cut. So no process is ever killed by a number that may be another's by now, and
// none outlives this one.
type leash struct {
	l   net.Listener
	all sync.WaitGroup

	mu   sync.Mutex
	held map[net.Conn]struct{} // guarded by mu
}

func newLeash(ctx context.Context) (*leash, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &leash{l: l, held: make(map[net.Conn]struct{})}
	s.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.held[c] = struct{}{}
			s.mu.Unlock()
			s.all.Go(func() {
				_, _ = io.Copy(io.Discard, c) // until the process has ended
				s.mu.Lock()
				delete(s.held, c)
				s.mu.Unlock()
				_ = c.Close()
			})
		}
	})
	return s, nil
}

func (s *leash) addr() string { return s.l.Addr().String() }

// cut ends all processes there are and returns how many.
func (s *leash) cut() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.held)
	for c := range s.held {
		_ = c.Close() // it is cut
	}
	clear(s.held)
	return n
}

func (s *leash) close() {
	_ = s.l.Close()
	s.cut()
	s.all.Wait()
}

// tell tells all processes there are the name of a tool to learn.
func (s *leash) tell(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.held {
		_, _ = c.Write([]byte(name + "\n")) // it may end at this moment
	}
}

// onLeash has this process end with its leash, and learn what comes by it.
func onLeash(addr string, learn func(name string)) error {
	c, err := new(net.Dialer).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	go func() {
		for names := bufio.NewScanner(c); names.Scan(); {
			learn(names.Text())
		}
		os.Exit(1)
	}()
	return nil
}
