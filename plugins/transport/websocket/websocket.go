package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

var _ transport.Dialer = (*Dialer)(nil)

// Dialer opens WebSockets. It keeps nothing open of its own, so there is nothing
// to close.
type Dialer struct {
	// Immutable after creation.
	cfg   Config
	tls   *tls.Config
	proxy func(*http.Request) (*url.URL, error)
}

// New returns a Dialer, or all faults of cfg as *transport.ConfigError. It reads
// the files that cfg names, and connects to nothing.
func New(cfg Config) (*Dialer, error) {
	cfg.Headers = maps.Clone(cfg.Headers)
	tlsConfig, proxy, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Dialer{cfg: cfg, tls: tlsConfig, proxy: proxy}, nil
}

// Dial opens one WebSocket.
func (d *Dialer) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	target := open.Target.URL
	switch {
	case target == "":
		target = d.cfg.URL
	case d.cfg.URL != "" && d.cfg.URL != target:
		return nil, &transport.ConfigError{Field: "Target.URL", Problem: "is not the URL that the dialer is configured for"}
	}
	if target == "" {
		return nil, &transport.ConfigError{Field: "URL", Problem: "is required, in the configuration or in the target"}
	}
	u, err := parseURL(target)
	if err != nil {
		return nil, &transport.ConfigError{Field: "Target.URL", Problem: err.Error()}
	}
	header := make(http.Header)
	for name, value := range d.cfg.Headers {
		header.Set(name, value.Reveal())
	}
	maps.Copy(header, open.Header.Clone())

	// Each WebSocket has a connection to itself, which is kept so that it can be
	// cut: the library's own ways to close may wait for the peer.
	var line cutter
	base := &http.Transport{
		Proxy: d.proxy, TLSClientConfig: d.tls.Clone(), DisableKeepAlives: true,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2: it has no Upgrade
		DialContext:  line.dial,
	}
	client := &http.Client{Transport: base, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if d.cfg.Auth != nil {
		client.Transport, err = authhttp.New(authhttp.Config{
			Base: base, Provider: d.cfg.Auth,
			Request: auth.Request{
				Identity: auth.Identity{ID: open.Identity.ID, Attrs: maps.Clone(open.Identity.Attrs), Subject: sealed(open.Identity.Subject)},
				Target:   auth.Target{Name: open.Target.Name, URL: u.String()},
			},
		})
		if err != nil {
			return nil, &transport.ConfigError{Field: "Auth", Problem: "cannot be used", Err: err}
		}
	}
	opts := &websocket.DialOptions{HTTPClient: client, HTTPHeader: header}
	if d.cfg.Subprotocol != "" {
		opts.Subprotocols = []string{d.cfg.Subprotocol}
	}
	within, cancel := context.WithTimeoutCause(ctx, d.cfg.DialTimeout, fmt.Errorf("websocket: no handshake within %v: %w", d.cfg.DialTimeout, context.DeadlineExceeded))
	defer cancel()
	ws, resp, err := websocket.Dial(within, u.String(), opts) //nolint:bodyclose // the library sees to the body
	if err != nil {
		line.cut()
		return nil, refused(within, resp, err)
	}
	if got := ws.Subprotocol(); got != d.cfg.Subprotocol {
		line.cut()
		_ = ws.CloseNow() // it is cut
		return nil, &transport.RefusedError{Problem: fmt.Sprintf("the server speaks the subprotocol %q and not %q", got, d.cfg.Subprotocol)}
	}
	return newConn(ws, &line, open.Limit(), &d.cfg), nil
}

// sealed is the identity's subject in the words of package auth.
func sealed(subject func(context.Context) (string, error)) func(context.Context) (auth.Secret, error) {
	if subject == nil {
		return nil
	}
	return func(ctx context.Context) (auth.Secret, error) {
		token, err := subject(ctx)
		return auth.NewSecret(token), err
	}
}

// refused says why there is no WebSocket. An answer that is none of the server's
// troubles of the moment is a refusal.
func refused(ctx context.Context, resp *http.Response, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) //nolint:wrapcheck // it says which of the two ended
	}
	if resp == nil {
		if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return &transport.RefusedError{Problem: "the server's certificate is not trusted", Err: unverified}
		}
		return err //nolint:wrapcheck // the library says what it was doing
	}
	switch s := resp.StatusCode; {
	case s == http.StatusSwitchingProtocols:
		return &transport.RefusedError{Problem: "the server's handshake breaks the rules", Err: err}
	case s == http.StatusRequestTimeout, s == http.StatusTooManyRequests, s >= 500:
		return fmt.Errorf("websocket: the server answered %d %s", s, http.StatusText(s))
	default:
		return &transport.RefusedError{Status: s, Header: resp.Header.Clone()}
	}
}

// cutter keeps the network connection under a WebSocket.
type cutter struct {
	failed atomic.Bool   // reading from the network failed, or came to its end
	heard  atomic.Uint64 // times that something came: the library waits for all that fits its buffer

	mu   sync.Mutex
	line net.Conn // guarded by mu
	dead bool     // guarded by mu
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	line, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what it was doing
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		_ = line.Close() // nobody wants it any more
		return nil, net.ErrClosed
	}
	if c.line != nil {
		_ = c.line.Close() // another attempt, after a challenge
	}
	c.line = line
	return watched{line, c}, nil
}

// watched notes what comes, and when reading fails.
type watched struct {
	net.Conn
	cutter *cutter
}

func (w watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.cutter.heard.Add(1)
	}
	if err != nil {
		w.cutter.failed.Store(true)
	}
	return n, err //nolint:wrapcheck // it stands in for what it wraps
}

// cut ends the connection at once.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	if c.line != nil {
		_ = c.line.Close() // it may be closed already
	}
}
