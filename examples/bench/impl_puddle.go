package main

import (
	"context"
	"runtime"
	"sync"

	"github.com/jackc/puddle/v2"
)

type puddlePool struct{ p *puddle.Pool[*conn] }

var _ counter = puddlePool{}

func newPuddle(size int) (*puddle.Pool[*conn], error) {
	return puddle.NewPool(&puddle.Config[*conn]{
		Constructor: func(context.Context) (*conn, error) { return &conn{}, nil },
		Destructor:  func(*conn) {},
		MaxSize:     int32(size),
	})
}

func openPuddle(size int) (peer, error) {
	p, err := newPuddle(size)
	if err != nil {
		return nil, err
	}
	return puddlePool{p}, nil
}

func (p puddlePool) cycle(ctx context.Context, n int, yield bool) error {
	for range n {
		r, err := p.p.Acquire(ctx)
		if err != nil {
			return err
		}
		if yield {
			runtime.Gosched()
		}
		r.Release()
	}
	return nil
}

func (p puddlePool) hold(ctx context.Context, k int) (func(), error) {
	return holdEach(k, func() (func(), error) {
		r, err := p.p.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		return r.Release, nil
	})
}

func (p puddlePool) stats(n int) (live, leased int) {
	for range n {
		s := p.p.Stat()
		live, leased = int(s.TotalResources()), int(s.AcquiredResources())
	}
	return live, leased
}

func (p puddlePool) close() error {
	p.p.Close()
	return nil
}

// puddleMap is what one writes around puddle to have a pool per key.
type puddleMap struct {
	mu    sync.RWMutex
	pools map[string]*puddle.Pool[*conn] // guarded by mu
	size  int
}

var _ keyedPeer = (*puddleMap)(nil)

func openPuddleMap(size int) (keyedPeer, error) {
	return &puddleMap{pools: make(map[string]*puddle.Pool[*conn]), size: size}, nil
}

func (m *puddleMap) cycle(ctx context.Context, keys []string, first, n int) error {
	for i := range n {
		p, err := m.pool(keys[(first+i)%len(keys)])
		if err != nil {
			return err
		}
		r, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		r.Release()
	}
	return nil
}

func (m *puddleMap) pool(key string) (*puddle.Pool[*conn], error) {
	m.mu.RLock()
	p := m.pools[key]
	m.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if p = m.pools[key]; p != nil {
		return p, nil
	}
	p, err := newPuddle(m.size)
	if err == nil {
		m.pools[key] = p
	}
	return p, err
}

func (m *puddleMap) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pools {
		p.Close()
	}
	return nil
}
