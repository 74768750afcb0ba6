package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/plugins/auth/oauth"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// logIn takes a person through a login, and calls.
func logIn(ctx context.Context, w io.Writer, o options) error {
	out := show{w}
	endpoint := o.endpoint
	if endpoint == "" {
		s, err := startServers(ctx, o.lifetime)
		if err != nil {
			return err
		}
		defer s.close()
		endpoint = s.endpoint
		out.printf("An MCP server runs on %s and trusts %s. Its tokens live %v.\n", endpoint, s.issuer.Issuer(), o.lifetime)
	}
	pool, login, err := open(ctx, o, endpoint)
	if err != nil {
		return err
	}
	defer pool.close()

	_, err = pool.ListTools(ctx)
	if refusal, ok := errors.AsType[*mcpool.AuthError](err); ok && refusal.NeedsLogin {
		out.printf("\nThe server wants a login:\n\n")
		err = login(ctx, &oauth.LoopbackDialog{Out: w, Open: openBrowser})
		if err == nil {
			out.printf("\nLogged in. From here on nobody is needed.\n\n")
			_, err = pool.ListTools(ctx)
		}
	}
	if err != nil {
		return err
	}
	if o.endpoint == "" {
		return watch(ctx, out, o, pool)
	}
	return callOwn(ctx, out, o, pool)
}

// openBrowser prints only, where there is no screen to open anything on.
func openBrowser(ctx context.Context, url string) error {
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" && os.Getenv("MCPOOL_BROWSER") == "" {
		return nil
	}
	return oauth.OpenBrowser(ctx, url)
}

// pooled is a pool with the cache in front of the provider that it uses.
type pooled struct {
	*mcpool.Pool
	cache *auth.Cache
}

func (p *pooled) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = p.Close(ctx)       // everything was looked at before
	_ = p.cache.Close(ctx) // likewise
}

// snippet:begin login

// open returns a pool, and the function that logs its person in. Both use the same
// cache, so that a login is known to the pool at once.
func open(ctx context.Context, o options, endpoint string) (*pooled, func(context.Context, auth.Dialog) error, error) {
	grant := oauth.AuthorizationCode
	if o.device {
		grant = oauth.DeviceCode
	}
	provider, err := oauth.New(oauth.Config{
		Grant:     grant,
		Client:    oauth.Client{ID: o.clientID}, // without an ID the program registers itself
		TokenFile: o.tokens,                     // without a file tokens are kept in memory
	})
	if err != nil {
		return nil, nil, err
	}
	cache, err := auth.NewCache(provider, auth.CacheConfig{Instance: "oauth"})
	if err != nil {
		return nil, nil, err
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Name: "example", Endpoint: endpoint, Auth: cache, Lazy: true})
	if err != nil {
		return nil, nil, errors.Join(err, cache.Close(ctx))
	}
	login := func(ctx context.Context, d auth.Dialog) error {
		i, ok := auth.AsInteractive(cache)
		if !ok {
			return auth.ErrUnsupported
		}
		return i.Login(ctx, auth.Request{Target: auth.Target{Name: "example", URL: endpoint}}, d)
	}
	return &pooled{pool, cache}, login, nil
}

// snippet:end login

// watch calls for a while, past the end of several tokens.
func watch(ctx context.Context, out show, o options, pool *pooled) error {
	calls := 0
	for began := time.Now(); time.Since(began) < 2*o.each && ctx.Err() == nil; {
		res, err := pool.Call(ctx, "whoami", nil)
		if err != nil {
			return err
		}
		if calls++; calls == 1 {
			out.printf("The server calls you %q.\n", textOf(res))
		}
	}
	st := pool.cache.Stats()
	out.printf("%d calls in %v; %d tokens were fetched meanwhile, and no call failed.\n", calls, 2*o.each, st.Refreshes)
	return ctx.Err()
}

func callOwn(ctx context.Context, out show, o options, pool *pooled) error {
	if o.tool == "" {
		tools, err := pool.ListTools(ctx)
		if err != nil {
			return err
		}
		for _, t := range tools {
			out.printf("%-30s %s\n", t.Name, t.Description)
		}
		return nil
	}
	var args map[string]any
	if err := json.Unmarshal([]byte(o.args), &args); err != nil {
		return fmt.Errorf("-args: %w", err)
	}
	res, err := pool.Call(ctx, o.tool, args)
	if err != nil {
		return err
	}
	out.printf("%s\n", textOf(res))
	return nil
}

func textOf(res *mcp.CallToolResult) string {
	for _, c := range res.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			return t.Text
		}
	}
	return ""
}
