package main

import (
	"bufio"
	"net"
	"sync"
)

// server answers every line with the same line. It can hang up on everybody, as
// servers do.
type server struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool
	accepted int
	closed   bool
}

func startServer() (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{listener: l, conns: make(map[net.Conn]bool)}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *server) addr() string { return s.listener.Addr().String() }

func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.accepted++
		if s.closed {
			_ = c.Close()
		} else {
			s.conns[c] = true
			s.wg.Go(func() { s.echo(c) })
		}
		s.mu.Unlock()
	}
}

func (s *server) echo(c net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		_ = c.Close()
	}()
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		if _, err := c.Write(line); err != nil {
			return
		}
	}
}

// hangUp closes every connection.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// taken returns how many connections were accepted since the last call.
func (s *server) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.accepted
	s.accepted = 0
	return n
}

func (s *server) stop() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.hangUp()
	s.wg.Wait()
}
