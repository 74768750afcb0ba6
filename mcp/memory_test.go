package mcpool

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// memoryServer is a server in this process, for bubbles.
func memoryServer() *mcp.Server {
	m := mcp.NewServer(&mcp.Implementation{Name: "memory", Version: "1"}, nil)
	mcp.AddTool(m, &mcp.Tool{Name: "sleep"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ textArgs) (*mcp.CallToolResult, any, error) {
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
		}
		return &mcp.CallToolResult{}, nil, nil
	})
	return m
}

func TestAListIsFetchedAgainWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := Open(t.Context(), Config{Transport: InMemory(memoryServer())})
		if err != nil {
			t.Fatal(err)
		}
		for want, wait := range []time.Duration{0, time.Minute, 5 * time.Minute} {
			time.Sleep(wait)
			if _, err := p.ListTools(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := p.Stats().ListFetches; n != uint64(max(want, 1)) {
				t.Errorf("after %v fetched %d times", wait, n)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestACallTimeoutEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := Open(t.Context(), Config{Transport: InMemory(memoryServer()), CallTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := p.Call(t.Context(), "sleep", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
		began = time.Now()
		if _, err := p.Call(t.Context(), "sleep", nil, WithTimeout(2*time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAnIdleIdentityIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := Open(t.Context(), Config{Transport: InMemory(memoryServer())})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.ListTools(t.Context(), WithIdentity(identityNamed("alice"))); err != nil {
			t.Fatal(err)
		}
		if n := p.Stats().Identities; n != 2 {
			t.Errorf("%d identities", n)
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		st := p.Stats()
		if st.Identities != 1 {
			t.Errorf("%d identities after 6 idle minutes", st.Identities)
		}
		if st.Sessions.Live != 2 {
			t.Errorf("%d sessions, want the 2 of the default identity", st.Sessions.Live)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWarmupAndProbeDecideAboutSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warmed atomic.Int32
		var sick atomic.Bool
		p, err := Open(t.Context(), Config{
			Transport: InMemory(memoryServer()), Min: 1, Max: 1,
			WarmupHook: func(ctx context.Context, s *Session) error {
				warmed.Add(1)
				for _, err := range s.Tools(ctx) {
					if err != nil {
						return err
					}
				}
				return nil
			},
			HealthProbe: func(context.Context, *Session) error {
				if sick.Swap(false) {
					return errors.New("sick")
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := warmed.Load(); n != 1 {
			t.Errorf("warmed %d sessions", n)
		}
		sick.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := p.Stats().Sessions; st.ProbeFailures != 1 || st.Opened != 2 || warmed.Load() != 2 {
			t.Errorf("after a failed probe: %+v, warmed %d", st, warmed.Load())
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTheSessionsOfAServerInMemoryEndWithThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memoryServer()
		p, err := Open(t.Context(), Config{Transport: InMemory(m)})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for s := range m.Sessions() {
			t.Errorf("session %q is left", s.ID())
		}
	})
}
