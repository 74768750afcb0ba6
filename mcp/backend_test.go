package mcpool

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// become has the server restarted with another era. A modern one then takes
// nothing of older versions.
func (s *server) become(e era) {
	s.kill()
	s.mu.Lock()
	s.era = e
	s.mu.Unlock()
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if e != modernEra || isModern(r.Header.Get("Mcp-Protocol-Version")) {
			return false
		}
		var msg struct {
			ID json.RawMessage `json:"id"`
		}
		if json.NewDecoder(r.Body).Decode(&msg) != nil || msg.ID == nil {
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"unsupported protocol version"}}`, msg.ID)
		return true
	})
	s.start()
}

// TestAnEndpointThatChangesItsEraFailsNoReadOnlyCallConcurrentSafe swaps the
// backend of a pool under load, both ways.
func TestAnEndpointThatChangesItsEraFailsNoReadOnlyCallConcurrentSafe(t *testing.T) {
	t.Parallel()
	s := newServer(t, modernEra)
	p := s.open(func(c *Config) { c.Replay = ReplayReadOnly; c.CircuitFailures = Off; c.RestartGrace = time.Minute })
	held, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var calls atomic.Int32
	for i := range 12 {
		wg.Go(func() {
			var opts []Option
			switch i % 3 {
			case 1:
				opts = append(opts, WithIdentity(identityNamed("alice")))
			case 2:
				opts = append(opts, WithExclusive())
			}
			for n := 0; ctx.Err() == nil; n++ {
				want := fmt.Sprint(i, n)
				res, err := p.Call(ctx, "echo", map[string]any{"text": want}, opts...)
				switch {
				case err == nil && text(t, res, err) == want:
					calls.Add(1)
				case ctx.Err() == nil:
					t.Errorf("a call failed: %v (%v)", err, res)
					return
				}
			}
		})
	}
	through := func(protocol string, modern bool) {
		t.Helper()
		poll(t, "a backend for "+protocol, func() bool {
			known := p.era.known()
			return known != "" && isModern(known) == modern && (p.backend.Load().modern == modern || p.swaps.Load() >= maxSwaps)
		})
		before := calls.Load()
		poll(t, "calls to go through", func() bool { return calls.Load() > before+60 })
	}
	through("the first era", true)
	for range 2 {
		s.become(oldEra)
		through("the old era", false)
		s.become(modernEra)
		through("the modern era", true)
	}
	cancel()
	wg.Wait()
	held.Release()
	if n := p.swaps.Load(); n < maxSwaps {
		t.Errorf("%d swaps for 4 changes", n)
	}
	poll(t, "the backends that were left to be gone", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.leaving) == 0
	})
	st := p.Stats()
	if st.Sessions.Opened-st.Sessions.Closed != uint64(st.Sessions.Live) || st.Sessions.Leased != 0 {
		t.Errorf("the books do not agree: %+v", st.Sessions)
	}
}
