package main

import (
	"context"
	"runtime"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// corePool is mcpool's, with an acquire timeout and everything else as it comes.
type corePool struct{ p *core.Pool[*conn] }

var _ counter = corePool{}

func coreConfig(size int) core.Config[*conn] {
	return core.Config[*conn]{
		Open:           func(context.Context) (*conn, error) { return &conn{}, nil },
		Min:            size,
		Max:            size,
		AcquireTimeout: time.Minute,
	}
}

func openCore(size int) (peer, error) { return newCore(coreConfig(size)) }

func newCore(cfg core.Config[*conn]) (corePool, error) {
	p, err := core.New(cfg)
	if err != nil {
		return corePool{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return corePool{p}, p.WaitReady(ctx)
}

func (p corePool) cycle(ctx context.Context, n int, yield bool) error {
	for range n {
		l, err := p.p.Acquire(ctx)
		if err != nil {
			return err
		}
		if yield {
			runtime.Gosched()
		}
		l.Release()
	}
	return nil
}

func (p corePool) hold(ctx context.Context, k int) (func(), error) {
	return holdEach(k, func() (func(), error) {
		l, err := p.p.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		return l.Release, nil
	})
}

func (p corePool) stats(n int) (live, leased int) {
	for range n {
		s := p.p.Stats()
		live, leased = s.Live, s.Leased
	}
	return live, leased
}

func (p corePool) close() error { return closeCore(p.p) }

func closeCore(c interface{ Close(context.Context) error }) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return c.Close(ctx)
}

// coreAffinity acquires by key.
type coreAffinity struct{ corePool }

var _ keyedPeer = coreAffinity{}

func openCoreAffinity(size int) (keyedPeer, error) {
	p, err := newCore(coreConfig(size))
	return coreAffinity{p}, err
}

func (p coreAffinity) cycle(ctx context.Context, keys []string, first, n int) error {
	for i := range n {
		l, err := p.p.AcquireWith(ctx, core.AcquireOptions{Key: keys[(first+i)%len(keys)]})
		if err != nil {
			return err
		}
		l.Release()
	}
	return nil
}
