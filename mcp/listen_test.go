package mcpool

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// bubbles runs a test in a bubble for each era.
func bubbles(t *testing.T, f func(t *testing.T, e era)) {
	t.Helper()
	for _, e := range []era{oldEra, modernEra} {
		t.Run(string(e), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, e) })
		})
	}
}

// hush ends the pool and its connections, so that nothing of the bubble is left.
func (s *pipeServer) hush(p *Pool, client *http.Client) {
	s.t.Helper()
	shut(s.t, p)
	client.CloseIdleConnections()
	s.cut()
}

func TestAListenerThatCannotConnectGoesOnTryingWithEverLongerPauses(t *testing.T) {
	bubbles(t, func(t *testing.T, e era) {
		s := newPipeServer(t, e)
		changes := make(chan SchemaChange, 100)
		var client *http.Client
		p := s.pool(func(c *Config) {
			client = c.HTTP.Client
			c.OnSchemaChanged = func(e SchemaChange) { changes <- e }
		})
		time.Sleep(2 * time.Minute) // it lives for a while
		if n := s.listeners(); n != 1 || p.Stats().ListenerReopens != 0 {
			t.Fatalf("%d listeners, %d reopened", n, p.Stats().ListenerReopens)
		}
		s.attempts()
		s.down.Store(true)
		s.cut()
		time.Sleep(10 * time.Minute)
		tried := s.attempts()
		if len(tried) < 12 || len(tried) > 45 {
			t.Errorf("in ten minutes it tried %d times", len(tried))
		}
		for i, at := range tried[1:] {
			if gap := at.Sub(tried[i]); gap > 45*time.Second {
				t.Errorf("attempt %d came after %v", i+1, gap)
			}
		}
		if p.Stats().ListenerReopens != 0 {
			t.Error("an attempt counts as reopened")
		}
		s.down.Store(false)
		time.Sleep(time.Minute)
		if n := p.Stats().ListenerReopens; n != 1 || s.listeners() != 2 {
			t.Errorf("reopened %d times, %d listeners, want 1 and 2", n, s.listeners())
		}
		for len(changes) > 0 {
			<-changes
		}
		s.offer("added")
		time.Sleep(5 * time.Second)
		if len(changes) != 1 {
			t.Errorf("told %d times of a change", len(changes))
		}
		// One that has lived for a minute begins with short pauses again.
		time.Sleep(time.Minute)
		s.attempts()
		s.down.Store(true)
		s.cut()
		time.Sleep(20 * time.Second)
		if n := len(s.attempts()); n < 3 {
			t.Errorf("in the first twenty seconds it tried %d times", n)
		}
		s.down.Store(false)
		s.hush(p, client)
	})
}

func TestAListenerThatIsCutAgainAndAgainPausesLonger(t *testing.T) {
	bubbles(t, func(t *testing.T, e era) {
		s := newPipeServer(t, e)
		var client *http.Client
		p := s.pool(func(c *Config) { client = c.HTTP.Client })
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		// A proxy that cuts every stream after a second.
		for range 600 {
			time.Sleep(time.Second)
			s.cut()
		}
		if n := p.Stats().ListenerReopens; n < 10 || n > 60 {
			t.Errorf("in ten minutes it was opened again %d times", n)
		}
		s.hush(p, client)
	})
}

func TestAServerWithoutAStandingStreamIsAskedForOneOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeServer(t, oldEra)
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method == http.MethodGet
		})
		var client *http.Client
		p := s.pool(func(c *Config) { client = c.HTTP.Client })
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := s.listeners(); n != 1 {
			t.Errorf("%d streams were asked for in an hour", n)
		}
		s.hush(p, client)
	})
}

func TestCloseDoesNotWaitForAStreamThatDoesNotBegin(t *testing.T) {
	bubbles(t, func(t *testing.T, e era) {
		s := newPipeServer(t, e)
		release := make(chan struct{})
		s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || r.Header.Get("Mcp-Method") == "subscriptions/listen" {
				<-release
			}
			return false
		})
		var client *http.Client
		p := s.pool(func(c *Config) { client = c.HTTP.Client })
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s.listeners() == 0 {
			t.Fatal("there is no listener")
		}
		began := time.Now()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		close(release)
		s.hush(p, client)
	})
}
