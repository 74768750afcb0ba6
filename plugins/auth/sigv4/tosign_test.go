package sigv4

import (
	"net/http"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestWhatIsSignedIsThePathOnTheWireAndNothingStale(t *testing.T) {
	t.Parallel()
	var cfg Config
	for raw, want := range map[string]string{
		"https://h.example":           "//h.example/",
		"https://h.example?a=b":       "//h.example/",
		"https://h.example/a/b?c=/d":  "//h.example/a/b",
		"https://h.example/x/../b":    "//h.example/b",
		"http://h.example/a%2Fb#frag": "//h.example/a%2Fb",
	} {
		r, err := cfg.toSign(auth.HTTPRequest{Method: "GET", URL: raw, Header: http.Header{
			"X-Amz-Date": {"stale"}, "X-Amz-Security-Token": {"stale"}, "X-Amz-Content-Sha256": {"stale"}, "X-Amz-Target": {"kept"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if r.URL.Opaque != want || r.Host != "h.example" {
			t.Errorf("%s: %q of %q, want %q", raw, r.URL.Opaque, r.Host, want)
		}
		if len(r.Header) != 1 || r.Header.Get("X-Amz-Target") != "kept" {
			t.Errorf("%s: headers %v", raw, r.Header)
		}
	}
}
