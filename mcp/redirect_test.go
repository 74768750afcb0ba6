package mcpool

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestARedirectIsFollowedWhereItKeepsTheCall(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(nil)
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		var status atomic.Int32
		var got atomic.Int32
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("moved") {
				if r.Method == http.MethodGet {
					got.Add(1)
				}
				return false
			}
			if r.Method == http.MethodPost && status.Load() != 0 {
				http.Redirect(w, r, "/mcp?moved", int(status.Load()))
				return true
			}
			return false
		})
		status.Store(http.StatusTemporaryRedirect)
		res, err := p.Call(t.Context(), "echo", textArgs{Text: "moved"})
		if text(t, res, err) != "moved" {
			t.Error("not what was sent")
		}
		// A client that took the POST for done would go on with a GET.
		status.Store(http.StatusSeeOther)
		if _, err := p.Call(t.Context(), "echo", textArgs{Text: "lost"}, WithReplay(ReplayNever)); err == nil || !strings.Contains(err.Error(), "would drop the call") {
			t.Errorf("got %v", err)
		}
		if got.Load() != 0 {
			t.Error("the call became a GET")
		}
		status.Store(0)
		res, err = p.Call(t.Context(), "echo", textArgs{Text: "after"})
		if text(t, res, err) != "after" {
			t.Error("not what was sent")
		}
	})
}

func TestASessionThatTheServerForgotIsNotEndedThere(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p, err := Open(t.Context(), Config{Endpoint: s.url(), Min: 1, NoListener: true, ConnectTimeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.Call(t.Context(), "session", nil)
	forgotten := text(t, res, err)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get(sessionHeader) == forgotten {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	res, err = p.Call(t.Context(), "session", nil)
	if text(t, res, err) == forgotten {
		t.Error("the call ran on the session that is gone")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	ended := 0
	for _, r := range s.seen() {
		if r.method != http.MethodDelete {
			continue
		}
		ended++
		if r.header.Get(sessionHeader) == forgotten {
			t.Error("the server was told to end what it has forgotten")
		}
	}
	if ended == 0 {
		t.Error("no session was ended at the server")
	}
}
