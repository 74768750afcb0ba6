package main

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// relay carries TCP connections to an address and can cut them, as a network does:
// wherever they happen to be.
type relay struct {
	to     string
	l      net.Listener
	budget func() int64 // bytes after which a new connection is cut; nil for none
	cuts   atomic.Int64

	mu    sync.Mutex
	lines map[*relayed]struct{} // guarded by mu
	shut  bool                  // guarded by mu
	all   sync.WaitGroup
}

// relayed is one connection, both halves of it.
type relayed struct {
	r    *relay
	a, b net.Conn
	left atomic.Int64 // bytes until it is cut
	once sync.Once
}

func startRelay(ctx context.Context, to string, budget func() int64) (*relay, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{to: to, l: l, budget: budget, lines: make(map[*relayed]struct{})}
	r.all.Go(r.accept)
	return r, nil
}

func (r *relay) addr() string { return r.l.Addr().String() }

func (r *relay) accept() {
	for {
		a, err := r.l.Accept()
		if err != nil {
			return
		}
		r.all.Go(func() { r.carry(a) })
	}
}

func (r *relay) carry(a net.Conn) {
	b, err := new(net.Dialer).DialContext(context.Background(), "tcp", r.to)
	if err != nil {
		_ = a.Close() // there is nobody to carry it to
		return
	}
	c := &relayed{r: r, a: a, b: b}
	if r.budget != nil {
		c.left.Store(r.budget())
	}
	r.mu.Lock()
	if r.shut {
		r.mu.Unlock()
		c.end()
		return
	}
	r.lines[c] = struct{}{}
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { c.pump(a, b) })
	c.pump(b, a)
	both.Wait()
	r.mu.Lock()
	delete(r.lines, c)
	r.mu.Unlock()
}

// pump carries one way. What is beyond the budget is not carried, so that the cut
// may fall into the middle of a message.
func (c *relayed) pump(to, from net.Conn) {
	defer c.end()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if c.r.budget != nil {
			if left := c.left.Add(-int64(n)); left < 0 {
				n = max(0, n+int(left))
				_, _ = to.Write(buf[:n]) // cut all the same
				c.r.cuts.Add(1)
				return
			}
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return // io.EOF among them: no protocol here goes on with half a connection
		}
	}
}

func (c *relayed) end() {
	c.once.Do(func() {
		for _, half := range []io.Closer{c.a, c.b} {
			_ = half.Close() // it is over
		}
	})
}

// cut cuts all connections there are and returns how many.
func (r *relay) cut() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.lines)
	for c := range r.lines {
		c.end()
	}
	clear(r.lines)
	r.cuts.Add(int64(n))
	return n
}

func (r *relay) close() {
	_ = r.l.Close()
	r.mu.Lock()
	r.shut = true
	r.mu.Unlock()
	r.cut()
	r.all.Wait()
}
