package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// What an idle session has.
const (
	heapBytes   = "heap_bytes"
	stackBytes  = "stack_bytes" // of its goroutines, with what is between those in use
	goroutines  = "goroutines"
	descriptors = "descriptors"
)

const idleSessions = 1000

// idleCase measures what a thousand idle sessions have. Up to 2025-11-25 a pool
// has them for one identity. From then on an identity has one session, which
// carries all its calls; a thousand are those of a thousand identities.
func idleCase(name, version string) benchCase {
	hold := func(open func(*mcpServer) (func() error, error)) func() (sample, error) {
		return func() (smp sample, err error) {
			s, err := openServer(overHTTP, version)
			if err != nil {
				return sample{}, err
			}
			defer func() { err = errors.Join(err, s.close()) }()
			before := holdings()
			closeAll, err := open(s)
			if err != nil {
				return sample{}, err
			}
			after := holdings()
			smp.values = make(map[string]float64)
			for what, had := range before {
				smp.values[what] = (after[what] - had) / idleSessions
			}
			return smp, closeAll()
		}
	}
	pool := holdPool
	if version == version2026 {
		pool = holdIdentities
	}
	return benchCase{
		name: name, about: "what each of 1000 idle sessions has", goroutines: 1, rounds: 3,
		impls: []impl{{name: "direct", once: hold(holdDirect)}, {name: "pool", once: hold(pool)}},
	}
}

// holdDirect has sessions of the SDK, with what can be shared shared.
func holdDirect(s *mcpServer) (func() error, error) {
	base := &http.Transport{}
	client, httpClient := newClient(), &http.Client{Transport: base}
	var all []*mcp.ClientSession
	closeAll := func() error {
		defer base.CloseIdleConnections()
		var err error
		for _, cs := range all {
			err = errors.Join(err, cs.Close())
		}
		return err
	}
	for range idleSessions {
		cs, err := s.session(context.Background(), client, httpClient)
		if err != nil {
			return nil, errors.Join(err, closeAll())
		}
		all = append(all, cs)
	}
	return closeAll, nil
}

// holdPool has them in a pool of one identity.
func holdPool(s *mcpServer) (func() error, error) {
	c, err := pooled(func(c *mcpool.Config) {
		c.Min, c.Max, c.ProbeInterval = idleSessions, idleSessions, mcpool.Off
	})(s)
	if err != nil {
		return nil, err
	}
	return c.close, nil
}

// holdIdentities has them in a pool, one for each of as many identities.
func holdIdentities(s *mcpServer) (func() error, error) {
	ctx := context.Background()
	p, err := mcpool.Open(ctx, mcpool.Config{
		Endpoint: s.endpoint, ProtocolVersion: s.version, ClientInfo: clientInfo,
		MaxSessions: 2 * idleSessions, MaxIdentities: idleSessions, ProbeInterval: mcpool.Off,
	})
	if err != nil {
		return nil, err
	}
	for i := range idleSessions - 1 { // and the default one
		who := auth.Identity{ID: fmt.Sprintf("tenant-%04d", i)}
		if res, err := p.Call(ctx, "echo", toolArgs, mcpool.WithIdentity(who)); checkAnswer(res, err) != nil {
			return nil, errors.Join(checkAnswer(res, err), p.Close(ctx))
		}
	}
	return func() error { return p.Close(ctx) }, nil
}

// holdings is what the process has, once it has come to rest.
func holdings() map[string]float64 {
	var m runtime.MemStats
	last, same := -1, 0
	for range 400 {
		runtime.GC()
		if n := runtime.NumGoroutine(); n == last {
			same++
		} else {
			last, same = n, 0
		}
		if same == 5 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	runtime.ReadMemStats(&m)
	h := map[string]float64{heapBytes: float64(m.HeapAlloc), stackBytes: float64(m.StackInuse), goroutines: float64(runtime.NumGoroutine())}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil { // where there is such a thing
		h[descriptors] = float64(len(fds))
	}
	return h
}
