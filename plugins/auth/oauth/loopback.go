package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// LoopbackDialog is an auth.Dialog for programs that run where the person's browser
// does: it listens on 127.0.0.1 for the redirect (RFC 8252, 7.3), and prints what to
// open. The zero value is ready. Use one for each Login; it closes its listener when
// the login ends.
type LoopbackDialog struct {
	// Addr is where it listens; default "127.0.0.1:0", a free port. It must be a
	// loopback address. A fixed port is for servers where the redirect URL was
	// registered by hand.
	Addr string
	// Path is that of the redirect URL; default "/callback".
	Path string
	// Out is where prompts are printed; default os.Stderr.
	Out io.Writer
	// Open opens a URL in a browser; nil only prints it. OpenBrowser fits.
	Open func(ctx context.Context, url string) error

	mu       sync.Mutex
	redirect string        // guarded by mu; empty until RedirectURL
	queries  chan loopback // guarded by mu; made with redirect
}

var _ auth.Dialog = (*LoopbackDialog)(nil)

// loopback is one visit of a browser.
type loopback struct {
	query string
	state string
}

// RedirectURL opens the listener; it is closed when ctx, which is the login's, ends.
func (d *LoopbackDialog) RedirectURL(ctx context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.redirect != "" {
		return "", errors.New("oauth: a LoopbackDialog is for one login")
	}
	addr, path := d.Addr, d.Path
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	if path == "" {
		path = "/callback"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil || !isLoopback(host) || !strings.HasPrefix(path, "/") {
		return "", &auth.ConfigError{Field: "LoopbackDialog", Problem: "needs a loopback Addr with a port, and a Path that begins with /"}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("oauth: listening for the browser: %w", err)
	}
	// A name in Addr is kept: servers compare redirect URLs letter by letter.
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		_ = l.Close()
		return "", fmt.Errorf("oauth: listening for the browser: %w", err)
	}
	authority := net.JoinHostPort(host, port)
	d.redirect = (&url.URL{Scheme: "http", Host: authority, Path: path}).String()
	d.queries = make(chan loopback, 8)
	server := &http.Server{
		Handler:           d.handler(authority, path, d.queries),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	server.SetKeepAlivesEnabled(false)
	go func() { _ = server.Serve(l) }() // it always ends with an error
	context.AfterFunc(ctx, func() {
		// The page that thanks the person may still be on its way.
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(sctx) != nil {
			_ = server.Close()
		}
	})
	return d.redirect, nil
}

// Show prints the prompt, and opens its URL if there is an Open.
func (d *LoopbackDialog) Show(ctx context.Context, p auth.Prompt) error {
	out := d.Out
	if out == nil {
		out = os.Stderr
	}
	var b strings.Builder
	if p.Message != "" {
		fmt.Fprintln(&b, p.Message)
	}
	fmt.Fprintf(&b, "Open this URL in a browser:\n\n    %s\n\n", p.URL)
	if p.UserCode != "" {
		fmt.Fprintf(&b, "and enter the code: %s\n", p.UserCode)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("oauth: printing the login: %w", err)
	}
	if d.Open != nil {
		if err := d.Open(ctx, p.URL); err != nil {
			fmt.Fprintf(out, "(It could not be opened for you: %v.)\n", err)
		}
	}
	return nil
}

// Callback waits for the browser. Visits with another state are not this login's.
func (d *LoopbackDialog) Callback(ctx context.Context, state string) (auth.Secret, error) {
	d.mu.Lock()
	queries := d.queries
	d.mu.Unlock()
	if queries == nil {
		return auth.Secret{}, errors.New("oauth: Callback was called before RedirectURL")
	}
	for {
		select {
		case visit := <-queries:
			if visit.state == state {
				return auth.NewSecret(visit.query), nil
			}
		case <-ctx.Done():
			return auth.Secret{}, ctx.Err()
		}
	}
}

const page = "<!doctype html><meta charset=utf-8><title>mcpool</title><p>%s You can close this window.\n"

func (d *LoopbackDialog) handler(authority, path string, queries chan<- loopback) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'")
		// Host: another site whose name was made to resolve to loopback has no business here.
		if r.URL.Path != path || r.Host != authority || r.Method != http.MethodGet {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, page, "There is nothing here.")
			return
		}
		q := r.URL.Query()
		select {
		case queries <- loopback{query: r.URL.RawQuery, state: q.Get("state")}:
		default: // somebody floods; the login is not theirs
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		message := "Thank you."
		if q.Has("error") {
			message = "The login was refused."
		}
		fmt.Fprintf(w, page, message)
	})
}

// OpenBrowser opens a URL in the person's browser, if it is https or loopback. It
// does not wait for the browser.
func OpenBrowser(ctx context.Context, rawURL string) error {
	if u, err := url.Parse(rawURL); err != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return errors.New("it is neither https nor loopback")
	}
	name, args := "xdg-open", []string{rawURL}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", rawURL}
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), name, args...) //nolint:gosec // the URL was checked, and no shell sees it
	if err := cmd.Start(); err != nil {
		return errors.New("there is no " + name)
	}
	go func() { _ = cmd.Wait() }() // only so that nothing is left of it
	return nil
}
