package mcpool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestWhoSubscribedIsToldFromThenOn(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newWatched(t, e)
		p := s.open(nil)
		subA, a := subscribe(t, p, "test://a")
		s.changed("test://a") // at once: Subscribe has returned
		if u := a.next(t); u != (ResourceUpdate{URI: "test://a"}) {
			t.Errorf("told %+v", u)
		}
		_, b := subscribe(t, p, "test://b")
		_, again := subscribe(t, p, "test://a")
		s.changed("test://b")
		if u := b.next(t); u.URI != "test://b" {
			t.Errorf("told %+v", u)
		}
		s.changed("test://a")
		if u, v := a.next(t), again.next(t); u.URI != "test://a" || v.URI != "test://a" {
			t.Errorf("told %+v and %+v", u, v)
		}
		if n := s.subscribed("test://a"); n != 1 {
			t.Errorf("the server was asked %d times for one resource", n)
		}
		if n := p.Stats().Subscriptions; n != 3 {
			t.Errorf("stats: %d subscriptions", n)
		}
		// One of two for the same resource goes: the other is still told.
		subA.Close()
		subA.Close()
		s.changed("test://a")
		if u := again.next(t); u.URI != "test://a" {
			t.Errorf("told %+v", u)
		}
		if len(a) != 0 || len(b) != 0 {
			t.Errorf("told without reason: %d, %d", len(a), len(b))
		}
	})
}

func TestTheServerIsToldWhenNobodyIsSubscribed(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newWatched(t, e)
		p := s.open(func(c *Config) { c.NoListener = true })
		subA, _ := subscribe(t, p, "test://a")
		subB, b := subscribe(t, p, "test://b")
		subA.Close()
		poll(t, "the server to be told", func() bool { return s.subscribed("test://a") == 0 })
		s.changed("test://b")
		if u := b.next(t); u != (ResourceUpdate{URI: "test://b"}) {
			t.Errorf("the other subscription was told %+v", u)
		}
		subB.Close()
		if e == oldEra {
			poll(t, "the session to end", func() bool { return s.asked("DELETE ") == 1 })
		} else {
			poll(t, "the stream to end", func() bool { return s.subscribed("test://b") == 0 })
		}
		poll(t, "no subscription to be counted", func() bool { return p.Stats().Subscriptions == 0 })
		_, b = subscribe(t, p, "test://b") // and anew
		s.changed("test://b")
		b.next(t)
	})
}

func TestASubscriptionOutlivesTheServer(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newWatched(t, e)
		p := s.open(nil)
		_, a := subscribe(t, p, "test://a")
		_, b := subscribe(t, p, "test://b")
		for range 2 {
			s.kill()
			s.start()
			for c, uri := range map[*told]string{&a: "test://a", &b: "test://b"} {
				if u := c.next(t); u != (ResourceUpdate{URI: uri, Missed: true}) {
					t.Errorf("after the restart told %+v", u)
				}
				s.changed(uri)
				// A second session may have been needed, and then more was missed.
				for u := c.next(t); u.Missed; u = c.next(t) {
					s.changed(uri)
				}
			}
		}
		if p.Stats().ListenerReopens == 0 {
			t.Error("stats know of no reopening")
		}
	})
}

func TestAStreamThatBreaksIsMissedAndOpenedAgain(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newWatched(t, e)
		p := s.open(nil)
		_, a := subscribe(t, p, "test://a")
		s.http.CloseClientConnections() // the sessions stay
		if u := a.next(t); !u.Missed {
			t.Errorf("told %+v", u)
		}
		s.changed("test://a")
		for u := a.next(t); u.Missed; u = a.next(t) {
			s.changed("test://a")
		}
	})
}

func TestAServerWithoutSubscriptionsSaysSo(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		p := newServer(t, e).open(slow)
		_, err := p.Subscribe(t.Context(), "test://r", func(context.Context, ResourceUpdate) {})
		if !errors.Is(err, ErrNotOffered) {
			t.Errorf("got %v", err)
		}
	})
}

func TestARefusalReachesWhoWantedToSubscribe(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newWatched(t, e)
		p := s.open(nil)
		_, a := subscribe(t, p, "test://a")
		_, err := p.Subscribe(t.Context(), "test://secret", func(context.Context, ResourceUpdate) { t.Error("told") })
		if rpc, ok := errors.AsType[*jsonrpc.Error](err); !ok || rpc.Code != -32002 {
			t.Errorf("got %v", err)
		}
		s.changed("test://a")
		for u := a.next(t); u.Missed; u = a.next(t) { // it may have cost the session
			s.changed("test://a")
		}
	})
}

func TestSubscribeDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		up := InMemory(watchable(func(string, int) {}))
		p, err := Open(t.Context(), Config{AcquireTimeout: 5 * time.Second, Transport: func(ctx context.Context, d Dial) (mcp.Transport, error) {
			if down.Load() {
				return nil, errors.New("nobody there")
			}
			return up(ctx, d)
		}})
		if err != nil {
			t.Fatal(err)
		}
		down.Store(true)
		none := func(context.Context, ResourceUpdate) {}
		ctx, cancel := canceled(t)
		defer cancel()
		if _, err := p.Subscribe(ctx, "test://a", none); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		began := time.Now()
		if _, err := p.Subscribe(t.Context(), "test://a", none); err == nil || !strings.Contains(err.Error(), "nobody there") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("waited %v", took)
		}
		time.AfterFunc(2*time.Second, func() { down.Store(false) })
		if sub, err := p.Subscribe(t.Context(), "test://a", none); err != nil {
			t.Errorf("the server came back in time: %v", err)
		} else {
			sub.Close()
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := p.Subscribe(t.Context(), "test://a", none); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSubscribeWantsAResourceAndAFunction(t *testing.T) {
	t.Parallel()
	p := openMemory(t, watchable(func(string, int) {}), nil)
	if _, err := p.Subscribe(t.Context(), "", func(context.Context, ResourceUpdate) {}); err == nil {
		t.Error("without a resource")
	}
	if _, err := p.Subscribe(t.Context(), "x", nil); err == nil {
		t.Error("without a function")
	}
}

func TestSubscriptionsSpeakAsTheirIdentity(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newWatched(t, e)
		p := s.open(nil)
		_, a := subscribe(t, p, "test://a", WithHeader("Authorization", "Bearer alice"))
		_, b := subscribe(t, p, "test://a", WithHeader("Authorization", "Bearer bob"))
		if n := s.subscribed("test://a"); n != 2 {
			t.Errorf("%d subscriptions at the server for two identities", n)
		}
		s.changed("test://a")
		a.next(t)
		b.next(t)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, who := range []string{"Bearer alice", "Bearer bob"} {
			if !slices.ContainsFunc(s.headers, func(h http.Header) bool { return h.Get("Authorization") == who }) {
				t.Errorf("%s never came", who)
			}
		}
	})
}

func TestAFunctionThatPanicsIsToldAgain(t *testing.T) {
	t.Parallel()
	s := newWatched(t, oldEra)
	p := s.open(nil)
	c := make(told, 10)
	if _, err := p.Subscribe(t.Context(), "test://a", func(_ context.Context, u ResourceUpdate) {
		c <- u
		panic("on purpose")
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.changed("test://a")
		c.next(t)
	}
}

func TestUpdatesThatComeMeanwhileAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := watchable(func(string, int) {})
		p, err := Open(t.Context(), Config{Transport: InMemory(m)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close(t.Context()) }()
		c := make(told, 1000)
		sub, err := p.Subscribe(t.Context(), "test://a", func(_ context.Context, u ResourceUpdate) {
			c <- u
			time.Sleep(time.Second)
		})
		if err != nil {
			t.Fatal(err)
		}
		got := func() (list []ResourceUpdate) {
			time.Sleep(5 * time.Minute)
			for len(c) > 0 {
				list = append(list, <-c)
			}
			return list
		}
		for range 5 {
			_ = m.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: "test://a"})
			synctest.Wait()
		}
		if list := got(); len(list) != 2 {
			t.Errorf("5 updates in a row were told %d times, want now and once more", len(list))
		}
		for i := range 3 * maxPending {
			sub.push(ResourceUpdate{URI: fmt.Sprintf("test://a/%d", i)})
		}
		if list := got(); len(list) > maxPending+2 || !slices.Contains(list, ResourceUpdate{URI: "test://a", Missed: true}) {
			t.Errorf("%d updates below one resource were told as %d", 3*maxPending, len(list))
		}
		sub.push(ResourceUpdate{URI: "test://a"})
		synctest.Wait()
		sub.push(ResourceUpdate{URI: "test://a"})
		sub.Close()
		if list := got(); len(list) != 1 {
			t.Errorf("told %d times, want the one that was under way at Close", len(list))
		}
	})
}

func TestAResourceBelowOneIsToldToWhoSubscribedToThat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uri, updated string
		want         bool
	}{
		{"file:///a", "file:///a", true},
		{"file:///a", "file:///a/b", true},
		{"file:///a/", "file:///a/b", true},
		{"file:///a", "file:///ab", false},
		{"file:///a", "file:///a?x", true},
		{"file:///a/b", "file:///a", false},
	} {
		if got := covers(c.uri, c.updated); got != c.want {
			t.Errorf("%q covers %q: %v", c.uri, c.updated, got)
		}
	}
}

func TestAnIdentityThatIsSubscribedIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := watchable(func(string, int) {})
		p, err := Open(t.Context(), Config{Transport: InMemory(m)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close(t.Context()) }()
		c := make(told, 10)
		sub, err := p.Subscribe(t.Context(), "test://a", c.hear, WithIdentity(identityNamed("alice")))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		_ = m.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: "test://a"})
		synctest.Wait()
		if len(c) != 1 || p.Stats().Identities != 2 {
			t.Errorf("after an hour: told %d times, %d identities", len(c), p.Stats().Identities)
		}
		sub.Close()
		time.Sleep(time.Hour)
		if n := p.Stats().Identities; n != 1 {
			t.Errorf("%d identities after the subscription ended", n)
		}
		n := 0
		for range m.Sessions() {
			n++
		}
		if n != 2 {
			t.Errorf("%d sessions at the server, want the 2 of the default identity", n)
		}
	})
}

func TestSubscribingIsConcurrentSafe(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newWatched(t, e)
		p := s.open(nil)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 5 {
					uri := []string{"test://a", "test://b"}[i%2]
					sub, err := p.Subscribe(t.Context(), uri, func(context.Context, ResourceUpdate) {})
					if err != nil {
						t.Error(err)
						return
					}
					sub.Close()
				}
			})
		}
		wg.Wait()
		_, a := subscribe(t, p, "test://a")
		s.changed("test://a")
		a.next(t)
	})
}
