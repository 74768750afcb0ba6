package mcpool

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestAStandingStreamThatIsOpenedAgainMayHaveMissedSomething(t *testing.T) {
	t.Parallel()
	h := newHearing(nil)
	missed := 0
	tell := func(u ResourceUpdate) {
		if u.Missed {
			missed++
		}
	}
	h.update.Store(&tell)
	plain, resumed := &http.Request{Header: http.Header{}}, &http.Request{Header: http.Header{"Last-Event-Id": {"7"}}}
	for i, c := range []struct {
		req  *http.Request
		want int
	}{{plain, 0}, {resumed, 0}, {plain, 1}} { // the server of the second repeats what was missed
		if h.gotStream(c.req); missed != c.want {
			t.Errorf("after stream %d: missed %d times, want %d", i+1, missed, c.want)
		}
	}
}

func TestARedirectIsNoEndOfAStream(t *testing.T) {
	t.Parallel()
	h := newHearing(nil)
	l := h.expect("test://a")
	_, _ = l.answeredBy(&http.Response{StatusCode: http.StatusTemporaryRedirect, Body: http.NoBody}, nil) //nolint:bodyclose // there is none
	select {
	case <-h.ended:
		t.Error("it ended")
	case err := <-l.answer:
		t.Errorf("it was answered: %v", err)
	default:
	}
}

// TestARefusalOfTheMomentIsNotTheServersAnswer has a server too busy to be asked.
func TestARefusalOfTheMomentIsNotTheServersAnswer(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newWatched(t, e)
		p := s.open(slow)
		var refused atomic.Bool
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return false
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			if !strings.Contains(string(body), `"test://a"`) || refused.Swap(true) {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		subscribe(t, p, "test://a")
		if !refused.Load() {
			t.Error("nothing was refused")
		}
	})
}

func TestAServerWithoutAStandingStreamHasNoSubscriptions(t *testing.T) {
	t.Parallel()
	s := newWatched(t, oldEra)
	p := s.open(slow)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
		return r.Method == http.MethodGet
	})
	if _, err := p.Subscribe(t.Context(), "test://a", func(context.Context, ResourceUpdate) {}); !errors.Is(err, ErrNotOffered) {
		t.Errorf("got %v", err)
	}
}

// TestASubscriptionThatIsRefusedLaterIsTriedAgain has a server that, back after a
// restart, does not know the resource at first.
func TestASubscriptionThatIsRefusedLaterIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, refuse atomic.Int32
		m := mcp.NewServer(&mcp.Implementation{Name: "watched", Version: "1"}, &mcp.ServerOptions{
			SubscribeHandler: func(context.Context, *mcp.SubscribeRequest) error {
				asked.Add(1)
				if refuse.Load() != 0 {
					return &jsonrpc.Error{Code: -32002, Message: "not there"}
				}
				return nil
			},
			UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
		})
		m.AddResource(&mcp.Resource{Name: "a", URI: "test://a"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{}, nil
		})
		p, err := Open(t.Context(), Config{Transport: InMemory(m), ProtocolVersion: lastOld})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close(t.Context()) }()
		updates := make(told, 100)
		if _, err := p.Subscribe(t.Context(), "test://a", updates.hear); err != nil {
			t.Fatal(err)
		}
		refuse.Store(1)
		for session := range m.Sessions() {
			_ = session.Close()
		}
		time.Sleep(10 * time.Second)
		refuse.Store(0)
		before := asked.Load()
		time.Sleep(time.Minute)
		if asked.Load() != before+1 {
			t.Errorf("asked %d times before and %d times after it would have been accepted", before, asked.Load()-before)
		}
		for len(updates) > 0 {
			<-updates
		}
		_ = m.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: "test://a"})
		if u := <-updates; u.Missed {
			t.Errorf("told %+v", u)
		}
	})
}
