package mcpool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// DialerTransport returns a transport for the official SDK that runs over a
// connection of d: for a client or a server of one's own, outside of a pool. Each
// Connect dials once. In a pool, set Config.Dialer instead, which adds what the
// pool has to know about lost connections.
func DialerTransport(d transport.Dialer, open transport.Open) mcp.Transport {
	return &dialing{
		limit: open.Limit(),
		dial:  func(ctx context.Context) (transport.Conn, error) { return dialSafely(ctx, d, open.Clone()) },
	}
}

// dialing is a transport that dials when it is connected.
type dialing struct {
	limit int64
	dial  func(ctx context.Context) (transport.Conn, error)
	made  func(c *carrier) // is told of the connection; nil for nobody
}

func (d *dialing) Connect(ctx context.Context) (mcp.Connection, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	c := newCarrier(conn, d.limit)
	if d.made != nil {
		d.made(c)
	}
	return c, nil
}

// dialTransport is the transport of a session over Config.Dialer.
func (p *Pool) dialTransport(_ context.Context, s *conn) (mcp.Transport, error) {
	open := transport.Open{
		Target: transport.Target{Name: p.cfg.Name, URL: p.cfg.Endpoint},
		Identity: transport.Identity{
			ID: s.id.auth.ID, Attrs: maps.Clone(s.id.auth.Attrs), Subject: revealed(s.id.auth.Subject),
		},
		Header:   s.id.credentials().Clone(),
		MaxBytes: p.cfg.MaxMessageBytes,
	}
	return &dialing{
		limit: open.Limit(),
		dial:  func(ctx context.Context) (transport.Conn, error) { return p.dialWith(ctx, s.id, open) },
		made:  func(c *carrier) { s.carrier = c },
	}, nil
}

// revealed is the identity's subject in the words of package transport.
func revealed(subject func(context.Context) (auth.Secret, error)) func(context.Context) (string, error) {
	if subject == nil {
		return nil
	}
	return func(ctx context.Context) (string, error) {
		token, err := subject(ctx)
		return token.Reveal(), err
	}
}

// dialWith dials with the provider's credentials. A refusal is shown to the
// provider once, and the dial repeated if it says so, as with a request over HTTP.
func (p *Pool) dialWith(ctx context.Context, id *identity, open transport.Open) (transport.Conn, error) {
	if p.provider == nil || id.formed {
		conn, err := dialSafely(ctx, p.cfg.Dialer, open)
		return conn, refusal(err, auth.GiveUp, nil)
	}
	req := auth.Request{Identity: id.auth, Target: auth.Target{Name: p.cfg.Name, URL: p.cfg.Endpoint}}
	own := open.Header
	for again := false; ; again = true {
		creds, err := p.provider.Credentials(ctx, req.Clone())
		if err != nil {
			return nil, &AuthError{NeedsLogin: errors.Is(err, auth.ErrInteractionRequired), Err: err}
		}
		open.Header = own.Clone()
		if open.Header == nil {
			open.Header = make(http.Header)
		}
		maps.Copy(open.Header, creds.Header.Clone())
		sentAt := time.Now()
		conn, err := dialSafely(ctx, p.cfg.Dialer, open.Clone())
		var refused *transport.RefusedError
		if !errors.As(err, &refused) || !refusesCredentials(refused) {
			return conn, err
		}
		outcome, failed := p.provider.Challenge(ctx, req.Clone(), auth.Challenge{
			Sent:   auth.HTTPRequest{Method: http.MethodGet, URL: p.cfg.Endpoint, Header: open.Header},
			SentAt: sentAt, Generation: creds.Generation, Status: refused.Status, Header: refused.Header.Clone(),
		})
		if again || outcome != auth.Retry || failed != nil {
			return nil, refusal(err, outcome, failed)
		}
	}
}

func refusesCredentials(e *transport.RefusedError) bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// refusal turns a refusal of credentials into the pool's own error for that.
func refusal(err error, outcome auth.Outcome, provider error) error {
	var refused *transport.RefusedError
	if !errors.As(err, &refused) || !refusesCredentials(refused) {
		return err
	}
	return &AuthError{Status: refused.Status, NeedsLogin: outcome == auth.NeedsLogin, Err: errors.Join(err, provider)}
}

// dialSafely calls a dialer; a panic in it is an error, and so is nothing at all.
func dialSafely(ctx context.Context, d transport.Dialer, open transport.Open) (conn transport.Conn, err error) {
	defer func() {
		if v := recover(); v != nil {
			conn, err = nil, fmt.Errorf("mcpool: Config.Dialer panicked: %v", v)
		}
	}()
	if d == nil {
		return nil, errors.New("mcpool: the dialer is nil")
	}
	conn, err = d.Dial(ctx, open)
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // the pool says what it was doing
	case conn == nil:
		return nil, errors.New("mcpool: Config.Dialer returned nil and no error")
	}
	return conn, nil
}

// checkDialer checks what belongs to Dialer and returns the pool's default name.
func (c *Config) checkDialer(f *faults, name string) string {
	if c.Endpoint != "" {
		switch u, err := url.Parse(c.Endpoint); {
		case err != nil:
			f.add("Endpoint", nil, "does not parse as a URL") // the error would quote it
		case u.User != nil && c.Auth != nil:
			f.add("Endpoint", nil, "has a user in it: give credentials with Auth")
		case u.Host != "":
			name = u.Host
		}
	}
	if c.MaxMessageBytes < 0 {
		f.add("MaxMessageBytes", c.MaxMessageBytes, "is negative: use 0 for the default")
	}
	return name
}
