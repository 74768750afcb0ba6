package main

import (
	"context"
	"runtime"
)

// channelPool is the pool everybody writes first.
type channelPool struct{ ch chan *conn }

var _ peer = channelPool{}

func openChannel(size int) (peer, error) {
	p := channelPool{make(chan *conn, size)}
	for i := range size {
		p.ch <- &conn{n: i}
	}
	return p, nil
}

func (p channelPool) cycle(ctx context.Context, n int, yield bool) error {
	for range n {
		c, err := p.acquire(ctx)
		if err != nil {
			return err
		}
		if yield {
			runtime.Gosched()
		}
		p.ch <- c
	}
	return nil
}

func (p channelPool) acquire(ctx context.Context) (*conn, error) {
	select {
	case c := <-p.ch:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p channelPool) hold(ctx context.Context, k int) (func(), error) {
	return holdEach(k, func() (func(), error) {
		c, err := p.acquire(ctx)
		if err != nil {
			return nil, err
		}
		return func() { p.ch <- c }, nil
	})
}

func (p channelPool) close() error { return nil }
