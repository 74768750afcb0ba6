package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// What is looked at when a server comes back.
const (
	initializes = "initializes"  // that reached the new server
	burst       = "burst"        // the most of them within burstTime
	recoveredMs = "recovered_ms" // from when the new server listened until every caller had an answer of it
	failedCalls = "failed_calls"
)

const (
	stormSessions = 32
	stormCallers  = 128
	burstTime     = 10 * time.Millisecond
	stormAway     = 300 * time.Millisecond
)

// stormCase kills the server under load and starts it again.
func stormCase() benchCase {
	return benchCase{
		name: "restart_storm", about: "128 callers on 32 sessions of a server that is killed, and back 300 ms later",
		goroutines: 1, rounds: 5,
		impls: []impl{
			{name: "direct", once: func() (sample, error) { return storm(newReconnecting) }},
			{name: "pool", once: func() (sample, error) {
				return storm(pooled(func(c *mcpool.Config) {
					c.Min, c.Max, c.CallsPerSession = stormSessions, stormSessions, stormCallers/stormSessions
					c.Replay = mcpool.ReplayReadOnly
				}))
			}},
		},
	}
}

func storm(open func(*mcpServer) (*caller, error)) (smp sample, err error) {
	server, err := startRemote("127.0.0.1:0")
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = server.kill() }()
	c, err := open(&mcpServer{version: versionOld, endpoint: server.url("noted")})
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, c.close()) }()

	var failed atomic.Int64
	var back atomic.Int64 // when the new server listened, since began
	began := time.Now()
	stop := make(chan struct{})
	recovered := make(chan time.Duration, stormCallers)
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()
	for range stormCallers {
		wg.Go(func() {
			told := false
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				err := c.call(ctx, "echo")
				cancel()
				if err != nil {
					failed.Add(1)
				}
				if at := time.Duration(back.Load()); err == nil && at != 0 && !told { // the old server is long gone
					told = true
					recovered <- time.Since(began) - at
				}
			}
		})
	}
	time.Sleep(stormAway) // under load
	addr := server.addr
	_ = server.kill() // it cannot fail
	time.Sleep(stormAway)
	next, err := startRemote(addr)
	if err != nil {
		return sample{}, err
	}
	server = next
	back.Store(int64(time.Since(began)))
	var last time.Duration
	for range stormCallers {
		select {
		case took := <-recovered:
			last = max(last, took)
		case <-time.After(patience):
			return sample{}, errors.New("not every caller had an answer after the restart")
		}
	}
	end()
	at, err := arrivalsOf(server)
	if err != nil {
		return sample{}, err
	}
	return sample{values: map[string]float64{
		initializes: float64(len(at)), burst: float64(mostWithin(at, burstTime)),
		recoveredMs: float64(last.Milliseconds()), failedCalls: float64(failed.Load()),
	}}, nil
}

func arrivalsOf(r *remote) (at []time.Duration, err error) {
	resp, err := http.Get(r.url("arrivals")) //nolint:noctx // it ends with the server
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return at, json.NewDecoder(resp.Body).Decode(&at)
}

// mostWithin returns how many of the times lie within one stretch of length d.
func mostWithin(at []time.Duration, d time.Duration) int {
	slices.Sort(at)
	most, first := 0, 0
	for i := range at {
		for at[i]-at[first] > d {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// reconnecting is what one writes without a pool: as many sessions, each shared by
// some callers; who finds one broken opens another in its place and tries again.
type reconnecting struct {
	server *mcpServer
	base   *http.Client
	turn   atomic.Uint64
	places []place
}

type place struct {
	mu sync.Mutex
	cs *mcp.ClientSession // guarded by mu
}

func newReconnecting(s *mcpServer) (*caller, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: stormCallers}
	r := &reconnecting{server: s, base: &http.Client{Transport: transport}, places: make([]place, stormSessions)}
	for i := range r.places {
		if _, err := r.places[i].session(r, nil); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return &caller{call: r.call, close: func() error {
		defer transport.CloseIdleConnections()
		return r.close()
	}}, nil
}

func (r *reconnecting) close() error {
	for i := range r.places {
		if cs := r.places[i].cs; cs != nil {
			_ = cs.Close() // what was lost says so
		}
	}
	return nil
}

// session returns the session of the place, a new one if it still is the broken one.
func (p *place) session(r *reconnecting, broken *mcp.ClientSession) (*mcp.ClientSession, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cs != nil && p.cs != broken {
		return p.cs, nil
	}
	cs, err := r.server.session(context.Background(), newClient(), r.base)
	if err == nil {
		p.cs = cs
	}
	return cs, err
}

func (r *reconnecting) call(ctx context.Context, tool string) error {
	p := &r.places[r.turn.Add(1)%stormSessions]
	var broken *mcp.ClientSession
	for {
		cs, err := p.session(r, broken)
		if err == nil {
			if err = callOn(ctx, cs, tool); err == nil {
				return nil
			}
			broken = cs
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}
