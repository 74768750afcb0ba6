package mcpool

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// answerBodies are what comes with a status, by kind. %s is the id of the request.
var answerBodies = map[string]struct{ kind, text string }{
	"empty":       {"", ""},
	"text":        {"text/plain", "no"},
	"html":        {"text/html", "<html><body>no</body></html>"},
	"json":        {"application/json", `{"error":"no"}`},
	"rpc error":   {"application/json", `{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"no"}}`},
	"rpc no id":   {"application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"no"}}`},
	"rpc string":  {"application/json", `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32603,"message":"no"}}`},
	"rpc result":  {"application/json", `{"jsonrpc":"2.0","id":%s,"result":{}}`},
	"rpc as text": {"text/plain", `{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"no"}}`},
	"garbage":     {"application/json", "]]]"},
	"cut off":     {"application/json", `{"jsonrpc":"2.0","id":%s,"err`},
	"stream":      {"text/event-stream", "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":-32603,\"message\":\"no\"}}\n\n"},
	"binary":      {"application/octet-stream", "\x00\xff\xfe"},
	"large":       {"text/plain", strings.Repeat("no ", 1<<20)},
}

// expectation says what a call comes to that is answered with a status: whether it
// is repeated on another session, and else what its error is.
type expectation struct {
	repeated bool
	check    func(error) bool
}

func expected(e era, status int, body string) expectation {
	rpc := strings.HasPrefix(body, "rpc ") && body != "rpc result" && body != "rpc no id" // which answers nothing
	switch status {
	case 404, 410:
		if e == oldEra {
			return expectation{repeated: true}
		}
	case 400:
		if e == oldEra && body == "empty" {
			return expectation{repeated: true} // as TypeScript servers are behind some proxies
		}
	case 401, 403:
		return expectation{check: isAuth(status)}
	case 429, 503:
		return expectation{check: isThrottled}
	}
	if rpc {
		return expectation{check: isRPC}
	}
	return expectation{check: isStatus(status)}
}

// isRPC is the error that the body holds.
func isRPC(err error) bool {
	var e *jsonrpc.Error
	return errors.As(err, &e) && e.Code == -32603 && e.Message == "no"
}

// TestEveryStatusWithEveryBodyIsForTheCallAlone answers one call with each, beside
// another on the same session.
func TestEveryStatusWithEveryBodyIsForTheCallAlone(t *testing.T) {
	t.Parallel()
	for _, e := range []era{oldEra, modernEra} {
		for _, status := range []int{400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 429, 500, 501, 502, 503, 504} {
			t.Run(fmt.Sprint(e, status), func(t *testing.T) {
				t.Parallel()
				s := newServer(t, e)
				p := s.open(func(c *Config) { c.Min, c.Max, c.NoListener = 1, 2, true })
				for name, body := range answerBodies {
					s.answers(status, body.kind, body.text)
					stop := s.neighbour(p)
					before := p.Stats()
					res, err := p.Call(t.Context(), "write", map[string]any{"text": name}, WithHeader("X-Answer", "1"))
					want := expected(e, status, name)
					switch {
					case want.repeated && (err != nil || text(t, res, err) != name):
						t.Errorf("%d %s: not repeated: %v", status, name, err)
					case !want.repeated && !want.check(err):
						t.Errorf("%d %s: got %T %v", status, name, err, err)
					}
					stop()
					if after := p.Stats(); !want.repeated && after.Losses != before.Losses {
						t.Errorf("%d %s: a session was lost over it", status, name)
					}
					if _, err := p.Call(t.Context(), "echo", nil); err != nil {
						t.Errorf("%d %s: the next call: %v", status, name, err)
					}
				}
			})
		}
	}
}

// answers has calls marked with X-Answer answered so: on the first session that
// one comes on, if it is about sessions.
func (s *server) answers(status int, kind, body string) {
	var session string
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Answer") == "" {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		id := r.Header.Get("Mcp-Session-Id")
		if session != "" && session != id {
			return false
		}
		session = id
		var msg struct {
			ID json.RawMessage `json:"id"`
		}
		_ = json.NewDecoder(r.Body).Decode(&msg)
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		fmt.Fprint(w, strings.ReplaceAll(body, "%s", string(msg.ID)))
		return true
	})
}
