package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// conn is what every pool here holds.
type conn struct{ n int }

// Close does nothing; conn is a core.Resource by it.
func (*conn) Close() error { return nil }

// A peer is a pool that takes part in the acquire-and-release cases.
type peer interface {
	// cycle acquires and releases n times. With yield it lets other goroutines
	// run while it holds, which is what makes them queue on few processors.
	cycle(ctx context.Context, n int, yield bool) error
	// hold acquires k leases and returns what gives them back.
	hold(ctx context.Context, k int) (release func(), err error)
	close() error
}

// A counter is a peer that can say what it holds.
type counter interface {
	peer
	// stats reads the statistics n times and returns the last numbers.
	stats(n int) (live, leased int)
}

// An opener makes a peer of a given size.
type opener struct {
	name string
	open func(size int) (peer, error)
}

func openers() []opener {
	return []opener{
		{"core", openCore},
		{"puddle", openPuddle},
		{"go-commons-pool", openCommons},
		{"database/sql", openSQL},
		{"channel", openChannel},
		{"cas", openCAS},
	}
}

// openWarm opens a peer and has it make all its resources.
func openWarm(o opener, size int) (peer, error) {
	p, err := o.open(size)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	release, err := p.hold(ctx, size)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("warming up: %w", err), p.close())
	}
	release()
	return p, nil
}

// holdEach is the usual hold: acquire k times, keep what releases each.
func holdEach(k int, acquire func() (func(), error)) (func(), error) {
	releases := make([]func(), 0, k)
	all := func() {
		for _, r := range releases {
			r()
		}
	}
	for range k {
		r, err := acquire()
		if err != nil {
			all()
			return nil, err
		}
		releases = append(releases, r)
	}
	return all, nil
}

// closeTime is how long a pool may take to close.
const closeTime = 10 * time.Second
