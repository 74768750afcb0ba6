package mcpool

import (
	"context"
	"errors"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestASessionSubscribesForItsHolder(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newWatched(t, e)
		p := s.open(nil)
		c := make(told, 100)
		lent, err := p.Acquire(t.Context(), WithResourceUpdates(c.hear))
		if err != nil {
			t.Fatal(err)
		}
		params := &mcp.SubscribeParams{URI: "test://a"}
		for range 2 { // the second is for nothing
			if err := lent.Subscribe(t.Context(), params); err != nil {
				t.Fatal(err)
			}
		}
		s.changed("test://a")
		if u := c.next(t); u != (ResourceUpdate{URI: "test://a"}) {
			t.Errorf("told %+v", u)
		}
		if err := lent.Unsubscribe(t.Context(), &mcp.UnsubscribeParams{URI: "test://a"}); err != nil {
			t.Error(err)
		}
		poll(t, "the server to be told", func() bool { return s.subscribed("test://a") <= 0 })
		if err := lent.Subscribe(t.Context(), params); err != nil {
			t.Fatal(err)
		}
		discarded := func() uint64 { return p.Stats().Sessions.Closed }
		before := discarded()
		lent.Release()
		if e == oldEra {
			poll(t, "the session to be closed", func() bool { return discarded() == before+1 })
		} else {
			poll(t, "the stream to end", func() bool { return s.subscribed("test://a") == 0 })
		}
		s.changed("test://a")
		if err := lent.Subscribe(t.Context(), params); !errors.Is(err, ErrReleased) {
			t.Errorf("after Release: %v", err)
		}
		if len(c) != 0 {
			t.Errorf("told %d times after Release", len(c))
		}
	})
}

func TestASessionWithNobodyToTellDoesNotSubscribe(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		p := newWatched(t, e).open(nil)
		err := p.Do(t.Context(), func(ctx context.Context, s *Session) error {
			return s.Subscribe(ctx, &mcp.SubscribeParams{URI: "test://a"})
		})
		if _, ok := errors.AsType[*OptionError](err); !ok {
			t.Errorf("got %v", err)
		}
	})
}

func TestASessionOfAServerInMemorySubscribesByItself(t *testing.T) {
	t.Parallel()
	m := watchable(func(string, int) {})
	p := openMemory(t, m, nil)
	c := make(told, 100)
	lent, err := p.Acquire(t.Context(), WithResourceUpdates(c.hear))
	if err != nil {
		t.Fatal(err)
	}
	defer lent.Release()
	if err := lent.Subscribe(t.Context(), &mcp.SubscribeParams{URI: "test://a"}); err != nil {
		t.Fatal(err)
	}
	if err := m.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: "test://a"}); err != nil {
		t.Fatal(err)
	}
	if u := c.next(t); u.URI != "test://a" {
		t.Errorf("told %+v", u)
	}
	if err := lent.Unsubscribe(t.Context(), &mcp.UnsubscribeParams{URI: "test://a"}); err != nil {
		t.Error(err)
	}
}
