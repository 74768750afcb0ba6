package mcpool

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// method is the JSON-RPC method of a request, which can be read again afterwards.
func method(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	for _, m := range []string{"server/discover", "initialize"} {
		if strings.Contains(string(body), `"`+m+`"`) {
			return m
		}
	}
	return ""
}

func TestARefusalOfDiscoveryIsNotHiddenByWhatFollows(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"JSON-RPC": http.StatusBadRequest, "text": http.StatusTeapot} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, modernEra)
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				switch method(r) {
				case "server/discover":
					w.WriteHeader(http.StatusUnauthorized)
				case "initialize":
					w.WriteHeader(status)
					if status == http.StatusBadRequest {
						_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":2,"error":{"code":-32020,"message":"Missing MCP-Protocol-Version header"}}`)
					}
				default:
					return false
				}
				return true
			})
			_, err := Open(t.Context(), Config{Endpoint: s.url()})
			var refusal *AuthError
			if !errors.As(err, &refusal) || refusal.Status != http.StatusUnauthorized {
				t.Errorf("got %v, want the refusal", err)
			}
		})
	}
}

func TestAServerThatRefusesDiscoveryAloneIsInitialized(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if method(r) != "server/discover" {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	p := s.open(nil)
	if res, err := p.Call(t.Context(), "echo", map[string]any{"text": "hi"}); text(t, res, err) != "hi" {
		t.Errorf("got %v", res)
	}
}

func TestANoteThatIsTakenWithATypeAndNoBodyIsTaken(t *testing.T) { // as the Python SDK does
	t.Parallel()
	for _, status := range []int{http.StatusAccepted, http.StatusNoContent} {
		s := newServer(t, oldEra)
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return false
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			if !strings.Contains(string(body), `"notifications/initialized"`) {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			return true
		})
		p, err := Open(t.Context(), Config{Endpoint: s.url()})
		if err != nil {
			t.Fatalf("%d: %v", status, err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
