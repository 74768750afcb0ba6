package main

import (
	"context"
	"runtime"

	commons "github.com/jolestar/go-commons-pool/v2"
)

type commonsPool struct{ p *commons.ObjectPool }

var _ counter = commonsPool{}

func openCommons(size int) (peer, error) {
	cfg := commons.NewDefaultPoolConfig()
	cfg.MaxTotal, cfg.MaxIdle = size, size
	factory := commons.NewPooledObjectFactorySimple(func(context.Context) (any, error) { return &conn{}, nil })
	return commonsPool{commons.NewObjectPool(context.Background(), factory, cfg)}, nil
}

func (p commonsPool) cycle(ctx context.Context, n int, yield bool) error {
	for range n {
		c, err := p.p.BorrowObject(ctx)
		if err != nil {
			return err
		}
		if yield {
			runtime.Gosched()
		}
		if err := p.p.ReturnObject(context.Background(), c); err != nil {
			return err
		}
	}
	return nil
}

func (p commonsPool) hold(ctx context.Context, k int) (func(), error) {
	return holdEach(k, func() (func(), error) {
		c, err := p.p.BorrowObject(ctx)
		if err != nil {
			return nil, err
		}
		return func() { _ = p.p.ReturnObject(context.Background(), c) }, nil
	})
}

func (p commonsPool) stats(n int) (live, leased int) {
	for range n {
		leased = p.p.GetNumActive()
		live = leased + p.p.GetNumIdle()
	}
	return live, leased
}

func (p commonsPool) close() error {
	p.p.Close(context.Background())
	return nil
}
