package main

import (
	"context"

	"github.com/go-mcpool/mcpool/core"
)

// coreKeyed has a pool for each key.
type coreKeyed struct{ k *core.Keyed[string, *conn] }

var _ keyedPeer = coreKeyed{}

func openCoreKeyed(size int) (keyedPeer, error) {
	perKey := coreConfig(size)
	perKey.Open, perKey.Min = nil, 0
	k, err := core.NewKeyed(core.KeyedConfig[string, *conn]{
		Open: func(context.Context, string) (*conn, error) { return &conn{}, nil },
		Pool: perKey,
	})
	if err != nil {
		return nil, err
	}
	return coreKeyed{k}, nil
}

func (p coreKeyed) cycle(ctx context.Context, keys []string, first, n int) error {
	for i := range n {
		l, err := p.k.Acquire(ctx, keys[(first+i)%len(keys)])
		if err != nil {
			return err
		}
		l.Release()
	}
	return nil
}

func (p coreKeyed) close() error { return closeCore(p.k) }
