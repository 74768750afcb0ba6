package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// What the cases of acquiring and releasing are made of.

func openersBut(without ...string) []opener {
	return slices.DeleteFunc(openers(), func(o opener) bool { return slices.Contains(without, o.name) })
}

// impls turns openers into the implementations of a case: open a warm pool, let
// fit make the fixture out of it.
func impls(os []opener, size int, fit func(p peer) (*fixture, error)) []impl {
	var ims []impl
	for _, o := range os {
		ims = append(ims, impl{name: o.name, open: func() (*fixture, error) {
			p, err := openWarm(o, size)
			if err != nil {
				return nil, err
			}
			fx, err := fit(p)
			if err != nil {
				return nil, errors.Join(err, p.close())
			}
			fx.close = closeAll(fx.close, p.close)
			return fx, nil
		}})
	}
	return ims
}

func closeAll(closers ...func() error) func() error {
	return func() error {
		var errs []error
		for _, c := range closers {
			if c != nil {
				errs = append(errs, c())
			}
		}
		return errors.Join(errs...)
	}
}

// cycles is a fixture whose goroutines share one background context.
func cycles(p peer) *fixture {
	return &fixture{worker: func(int) func(int) error {
		ctx := context.Background()
		return func(n int) error { return p.cycle(ctx, n, false) }
	}}
}

func plainCase(name, about string, goroutines, size int, os []opener) benchCase {
	return benchCase{name: name, about: about, goroutines: goroutines,
		impls: impls(os, size, func(p peer) (*fixture, error) { return cycles(p), nil })}
}

// waits is a fixture whose goroutines have a context of their own that can be
// cancelled, and yield while they hold a resource.
func waits(p peer) *fixture {
	cs := &contexts{}
	return &fixture{
		worker: func(int) func(int) error {
			ctx := cs.next()
			return func(n int) error { return p.cycle(ctx, n, true) }
		},
		close: cs.cancel,
	}
}

func waitCase(name, about string, goroutines, size int, os []opener) benchCase {
	return benchCase{name: name, about: about, goroutines: goroutines, fair: true,
		impls: impls(os, size, func(p peer) (*fixture, error) { return waits(p), nil })}
}

func sharedCase(name, about string, goroutines, size, seats int) benchCase {
	os := []opener{
		{"core", func(size int) (peer, error) {
			cfg := coreConfig(size)
			cfg.ShareLimit = seats
			return newCore(cfg)
		}},
		{"cas", func(size int) (peer, error) { return newCAS(size, seats), nil }},
	}
	return benchCase{name: name, about: about, goroutines: goroutines, stepwise: true,
		impls: impls(os, size, func(p peer) (*fixture, error) { return waits(p), nil })}
}

// busyCase has leased of the size resources held by somebody else all along.
func busyCase(name, about string, size, leased int, os []opener) benchCase {
	return benchCase{name: name, about: about, goroutines: 1,
		impls: impls(os, size, func(p peer) (*fixture, error) {
			release, err := p.hold(context.Background(), leased)
			if err != nil {
				return nil, err
			}
			fx := cycles(p)
			fx.close = func() error { release(); return nil }
			return fx, nil
		})}
}

func statsCase(name, about string, size, leased int, os []opener) benchCase {
	return benchCase{name: name, about: about, goroutines: 1,
		impls: impls(os, size, func(p peer) (*fixture, error) {
			c, ok := p.(counter)
			if !ok {
				return nil, fmt.Errorf("%T has no statistics", p)
			}
			release, err := p.hold(context.Background(), leased)
			if err != nil {
				return nil, err
			}
			return &fixture{
				worker: func(int) func(int) error {
					return func(n int) error { return checkStats(c, n, size, leased) }
				},
				close: func() error { release(); return nil },
			}, nil
		})}
}

func checkStats(c counter, n, wantLive, wantLeased int) error {
	if live, leased := c.stats(n); live != wantLive || leased != wantLeased {
		return fmt.Errorf("statistics say %d live, %d leased; it is %d and %d", live, leased, wantLive, wantLeased)
	}
	return nil
}

// A keyedPeer acquires by key.
type keyedPeer interface {
	// cycle acquires and releases n times, taking the keys in turn from first on.
	cycle(ctx context.Context, keys []string, first, n int) error
	close() error
}

type keyedOpener struct {
	name string
	open func(size int) (keyedPeer, error)
}

func keyedCase(name, about string, keyCount, size int, os ...keyedOpener) benchCase {
	keys := make([]string, keyCount)
	for i := range keys {
		keys[i] = fmt.Sprintf("tenant-%03d", i)
	}
	c := benchCase{name: name, about: about, goroutines: 1}
	for _, o := range os {
		c.impls = append(c.impls, impl{name: o.name, open: func() (*fixture, error) {
			p, err := o.open(size)
			if err != nil {
				return nil, err
			}
			ctx := context.Background()
			if err := p.cycle(ctx, keys, 0, keyCount); err != nil { // opens what each key needs
				return nil, errors.Join(err, p.close())
			}
			return &fixture{
				worker: func(int) func(int) error {
					next := 0
					return func(n int) error {
						first := next
						next = (next + n) % keyCount
						return p.cycle(ctx, keys, first, n)
					}
				},
				close: p.close,
			}, nil
		}})
	}
	return c
}
