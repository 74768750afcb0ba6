//go:build unix

package host

import (
	"net/http"
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Text is UTF-8 on the wire. What is not must not break the stream under everybody else.
func TestTextThatIsNotUTF8FailsAloneAndIsNamed(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	s, _ := auth.AsSigner(a)
	good := auth.HTTPRequest{Method: "GET", URL: "https://api.example/"}
	bad := request("x")
	bad.Identity.ID = "\xff"
	for range 3 {
		_, err := s.Sign(t.Context(), bad, good)
		if err == nil || !strings.Contains(err.Error(), "UTF-8") || !strings.Contains(err.Error(), "identity.id") {
			t.Errorf("an identity: %v", err)
		}
		if _, err := a.Credentials(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("credentials of an identity: %v", err)
		}
		hr := good
		hr.Header = http.Header{"X-\xff": {"1"}}
		_, err = s.Sign(t.Context(), request("x"), hr)
		if err == nil || !strings.Contains(err.Error(), "UTF-8") || !strings.Contains(err.Error(), "headers.name") {
			t.Errorf("a header: %v", err)
		}
		_, err = s.Sign(t.Context(), request("bytes"), good)
		if err == nil || !strings.Contains(err.Error(), "UTF-8") || !strings.Contains(err.Error(), "raw_query") {
			t.Errorf("a signature: %v", err)
		}
		if _, err := s.Sign(t.Context(), request("x"), good); err != nil {
			t.Errorf("the next one: %v", err)
		}
	}
	if n := r.Stats().Starts; n != 1 {
		t.Errorf("the plugin was started %d times", n)
	}
}
