package debug

import (
	"io"
	"net/http"
)

// Healthz answers 200 while the program serves requests at all. It looks at nothing:
// a program should not be restarted because its server is away.
func Healthz() http.Handler { return Readyz() }

// Readyz answers 200 while all the pools are ready, else 503. It says one word, so
// that it may be shown to everybody.
func Readyz(pools ...interface{ Ready() bool }) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !reads(w, r) {
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		word := "ok\n"
		for _, p := range pools {
			if !p.Ready() {
				word = "not ready\n"
				w.WriteHeader(http.StatusServiceUnavailable)
				break
			}
		}
		_, _ = io.WriteString(w, word) // whoever asked has gone
	})
}

// reads refuses what is neither GET nor HEAD.
func reads(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
	return false
}
