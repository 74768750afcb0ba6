package mcpool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestASessionThatIsGoneIsNotTheServersAnswer has a server say about the session, and
// a connection about itself, what is not said about the resource.
func TestASessionThatIsGoneIsNotTheServersAnswer(t *testing.T) {
	for _, once := range []error{
		&jsonrpc.Error{Code: -32001, Message: "Session not found"},
		&jsonrpc.Error{Code: codeRejected, Message: "rejected by transport"},
	} {
		t.Run(once.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				m := mcp.NewServer(&mcp.Implementation{Name: "watched", Version: "1"}, &mcp.ServerOptions{
					SubscribeHandler: func(context.Context, *mcp.SubscribeRequest) error {
						if asked.Add(1) == 1 {
							return once
						}
						return nil
					},
					UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
				})
				m.AddResource(&mcp.Resource{Name: "a", URI: "test://a"}, nil)
				p, err := Open(t.Context(), Config{Transport: InMemory(m), ProtocolVersion: lastOld})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := p.Subscribe(t.Context(), "test://a", func(context.Context, ResourceUpdate) {}); err != nil {
					t.Errorf("Subscribe: %v", err)
				}
				// The first session was replaced.
				if n := asked.Load(); n != 2 || p.Stats().ListenerReopens != 1 {
					t.Errorf("asked %d times, %d sessions reopened", n, p.Stats().ListenerReopens)
				}
				shut(t, p)
			})
		})
	}
}

func TestASubscriptionWhoseServerIsAwayGoesOnTryingWithEverLongerPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := watchable(func(string, int) {})
		up := InMemory(m)
		var down atomic.Bool
		var mu sync.Mutex
		var tried int
		p, err := Open(t.Context(), Config{Min: Off, ProbeInterval: Off, AcquireTimeout: Off, Transport: func(ctx context.Context, d Dial) (mcp.Transport, error) {
			mu.Lock()
			defer mu.Unlock()
			tried++
			if down.Load() {
				return nil, errors.New("nobody there")
			}
			return up(ctx, d)
		}})
		if err != nil {
			t.Fatal(err)
		}
		updates := make(told, 100)
		if _, err := p.Subscribe(t.Context(), "test://a", updates.hear); err != nil {
			t.Fatal(err)
		}
		triedIn := func(d time.Duration) int {
			mu.Lock()
			tried = 0
			mu.Unlock()
			time.Sleep(d)
			mu.Lock()
			defer mu.Unlock()
			return tried
		}
		goDown := func() {
			down.Store(true)
			for session := range m.Sessions() {
				_ = session.Close()
			}
		}
		goDown()
		if n := triedIn(10 * time.Minute); n < 16 || n > 70 {
			t.Errorf("in ten minutes it tried %d times", n)
		}
		if n := p.Stats().ListenerReopens; n != 0 || len(updates) != 0 {
			t.Errorf("reopened %d times, told %d times", n, len(updates))
		}
		down.Store(false)
		time.Sleep(3 * time.Minute) // it is back, and lives for a while
		if n := p.Stats().ListenerReopens; n != 1 || len(updates) != 1 || !(<-updates).Missed {
			t.Errorf("reopened %d times, told %d times", n, len(updates))
		}
		goDown()
		if n := triedIn(10 * time.Second); n < 5 || n > 10 {
			t.Errorf("in the first ten seconds it tried %d times", n)
		}
		time.Sleep(5 * time.Minute)
		// Somebody who waits is worth more of them.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		mu.Lock()
		tried = 0
		mu.Unlock()
		if _, err := p.Subscribe(ctx, "test://b", updates.hear); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		mu.Lock()
		if tried < 40 || tried > 130 {
			t.Errorf("tried %d times for somebody who waited a minute", tried)
		}
		mu.Unlock()
		shut(t, p)
	})
}

func TestASessionThatIsReleasedWhileItSubscribesDoesNotSubscribe(t *testing.T) {
	bubbles(t, func(t *testing.T, e era) {
		var subscribed atomic.Int32
		m := watchable(func(_ string, by int) { subscribed.Add(int32(by)) })
		s := newPipeServerOf(t, e, m)
		arrived, proceed := make(chan struct{}), make(chan struct{})
		m.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if method == "resources/subscribe" || method == methodListen && asksFor(req, "test://a") {
					close(arrived)
					<-proceed
				}
				return next(ctx, method, req)
			}
		})
		var client *http.Client
		p := s.pool(func(c *Config) { client, c.NoListener = c.HTTP.Client, true })
		updates := make(told, 10)
		lent, err := p.Acquire(t.Context(), WithResourceUpdates(updates.hear))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- lent.Subscribe(t.Context(), &mcp.SubscribeParams{URI: "test://a"}) }()
		<-arrived
		lent.Release()
		close(proceed)
		err = <-done
		if err == nil || e == modernEra && !errors.Is(err, ErrReleased) {
			t.Errorf("Subscribe: %v", err)
		}
		time.Sleep(time.Minute)
		if n := p.Stats().Subscriptions; n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
		if e == modernEra && subscribed.Load() != 0 {
			t.Errorf("the server has %d subscriptions", subscribed.Load())
		}
		_ = m.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: "test://a"})
		time.Sleep(time.Minute)
		if len(updates) != 0 {
			t.Errorf("told %+v after Release", <-updates)
		}
		// The session, which the server may still tell of the resource, is nobody's.
		if err := p.Do(t.Context(), func(_ context.Context, next *Session) error {
			if e == oldEra && next.ID() == lent.ID() {
				return fmt.Errorf("the session was lent to somebody else")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		s.hush(p, client)
	})
}

// asksFor tells whether a subscriptions/listen is about a resource.
func asksFor(req mcp.Request, uri string) bool {
	params, ok := req.GetParams().(*mcp.SubscriptionsListenParams)
	return ok && params.Notifications != nil && len(params.Notifications.ResourceSubscriptions) > 0 &&
		params.Notifications.ResourceSubscriptions[0] == uri
}
