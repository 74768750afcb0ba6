package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// client is a pool, and who logs in when the pool says that somebody has to.
type client struct {
	pool    *mcpool.Pool
	auth    *auth.Cache // nil without credentials
	request auth.Request
}

// poolName is the pool's, and so the target's, which a login has to name too.
const poolName = "conformance"

func connect(ctx context.Context, s scenario) (*client, error) {
	c := &client{}
	cfg := mcpool.Config{
		Name: poolName, Endpoint: s.server,
		// The suite plays all its scenarios at once, on whatever machine.
		ConnectTimeout: time.Minute,
		ClientInfo:     &mcp.Implementation{Name: "mcpool-conformance", Version: "1.0.0"},
	}
	// This scenario's server gives all sessions one id, and the answer to a call to the
	// first stream that is opened: a second session must not be listening.
	cfg.NoListener = s.name == "sse-retry"
	if s.name == "request-metadata" {
		// Every message counts, also the SDK's word that a second session is not wanted
		// after all, once the first has found out what the server speaks.
		cfg.MaxOpening = 1
	}
	provider, identity, err := credentials(s)
	if err != nil {
		return nil, err
	}
	if provider != nil {
		// The cache is the client's own, because logins go through it.
		if c.auth, err = auth.NewCache(provider, auth.CacheConfig{}); err != nil {
			return nil, err
		}
		cfg.Auth, cfg.Identity = c.auth, identity
		c.request = auth.Request{Identity: identity, Target: auth.Target{Name: poolName, URL: s.server}}
	}
	err = c.loggedIn(ctx, func() (err error) {
		c.pool, err = mcpool.Open(ctx, cfg)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, c.close(ctx))
	}
	return c, nil
}

func (c *client) close(ctx context.Context) error {
	var errs []error
	if c.pool != nil {
		errs = append(errs, c.pool.Close(ctx))
	}
	if c.auth != nil {
		errs = append(errs, c.auth.Close(ctx))
	}
	return errors.Join(errs...)
}

func (c *client) tools(ctx context.Context) (tools []*mcp.Tool, err error) {
	err = c.loggedIn(ctx, func() error {
		tools, err = c.pool.ListTools(ctx)
		return err
	})
	return tools, err
}

func (c *client) callTool(ctx context.Context, name string, args map[string]any, opts ...mcpool.Option) error {
	if args == nil {
		args = map[string]any{}
	}
	return c.loggedIn(ctx, func() error {
		_, err := c.pool.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: args}, opts...)
		return err
	})
}

// maxLogins is how often a person may be bothered for one thing.
const maxLogins = 3

// loggedIn does something, and again after each login that turned out to be needed:
// the first, and one for more scope.
func (c *client) loggedIn(ctx context.Context, do func() error) error {
	for range maxLogins {
		err := do()
		var refusal *mcpool.AuthError
		if c.auth == nil || !errors.As(err, &refusal) || !refusal.NeedsLogin {
			return err
		}
		i, ok := auth.AsInteractive(c.auth)
		if !ok {
			return err
		}
		if lerr := logIn(ctx, i, c.request); lerr != nil {
			return fmt.Errorf("%w; logging in: %w", err, lerr)
		}
	}
	return do()
}
