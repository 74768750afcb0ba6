package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/examples/internal/authserver"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/plugins/auth/oauth"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

const callers = 16

// report is what -json prints.
type report struct {
	Machine  load             `json:"machine"`
	People   load             `json:"people"`
	Crossed  int64            `json:"crossed"` // answers that were for somebody else
	Asked    bool             `json:"login_asked_for"`
	Revoked  bool             `json:"revoked_and_back"`
	Kept     bool             `json:"kept_in_file"`
	Device   bool             `json:"device"`
	Server   authserver.Stats `json:"server"`
	Problems []string         `json:"problems,omitempty"`
	OK       bool             `json:"ok"`
}

// load is what came of many calls.
type load struct {
	Calls  int64  `json:"calls"`
	Failed int64  `json:"failed"`
	Tokens uint64 `json:"tokens_fetched"`
	last   error
}

// demo is everything that the steps share.
type demo struct {
	*servers
	report
	each   time.Duration
	tokens string // the file
	people *mcpool.Pool
	cache  *auth.Cache
}

// demonstrate shows and checks everything against servers of its own.
func demonstrate(ctx context.Context, w io.Writer, o options) error {
	out := show{w}
	if o.json {
		out.w = nil
	}
	s, err := startServers(ctx, o.lifetime)
	if err != nil {
		return err
	}
	defer s.close()
	dir, err := os.MkdirTemp("", "mcpool-oauth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears it away too
	out.printf("An MCP server runs on %s and trusts %s.\nIts tokens live %v.\n\n", s.endpoint, s.issuer.Issuer(), o.lifetime)

	d := &demo{servers: s, each: o.each, tokens: filepath.Join(dir, "tokens.json")}
	if d.cache, err = d.newCache(oauth.Config{TokenFile: d.tokens}); err != nil {
		return err
	}
	defer d.cache.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything was looked at before
	if d.people, err = d.newPool(ctx, d.cache); err != nil {
		return err
	}
	defer d.people.Close(context.WithoutCancel(ctx)) //nolint:errcheck // likewise
	steps := []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"an application acts for itself, token after token", d.machine},
		{"who has not logged in is asked to", d.notYet},
		{"alice and bob log in, and are told apart", d.loggedIn},
		{"alice's login is revoked, bob's is not", d.revoked},
		{"the logins outlive the program", d.kept},
		{"somebody without a browser types a code", d.deviceCode},
	}
	for _, step := range steps {
		result, err := step.do(ctx)
		if err != nil {
			d.Problems = append(d.Problems, step.name+": "+err.Error())
			result = "FAILED: " + err.Error()
		}
		out.printf("%-50s %s\n", step.name, result)
	}
	d.Server = s.issuer.Stats()
	out.printf("\nThe authorization server: %d registrations, %d logins, %d refreshes, %d tokens for the application.\n",
		d.Server.Registrations, d.Server.Logins, d.Server.Refreshes, d.Server.Machine)
	return finish(w, out, o, &d.report)
}

func (d *demo) newCache(cfg oauth.Config) (*auth.Cache, error) {
	provider, err := oauth.New(cfg)
	if err != nil {
		return nil, err
	}
	return auth.NewCache(provider, auth.CacheConfig{Instance: "oauth"})
}

func (d *demo) newPool(ctx context.Context, provider auth.Provider) (*mcpool.Pool, error) {
	return mcpool.Open(ctx, mcpool.Config{Name: "example", Endpoint: d.endpoint, Auth: provider, Lazy: true})
}

// is calls as somebody, and fails if the server takes them for somebody else.
func is(ctx context.Context, pool *mcpool.Pool, name string) error {
	who, err := whoami(ctx, pool, name)
	if err == nil && who != name {
		err = fmt.Errorf("%s is %q to the server", name, who)
	}
	return err
}

// whoami asks the server as somebody.
func whoami(ctx context.Context, pool *mcpool.Pool, name string) (string, error) {
	res, err := pool.Call(ctx, "whoami", nil, mcpool.WithIdentity(auth.Identity{ID: name}))
	if err != nil {
		return "", err
	}
	return textOf(res), nil
}

// under runs callers for a while. Each calls as the name it is given.
func (d *demo) under(ctx context.Context, pool *mcpool.Pool, cache *auth.Cache, names ...string) (l load, crossed int64) {
	var calls, failed, wrong atomic.Int64
	var last atomic.Value
	before := cache.Stats().Refreshes
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			name := names[i%len(names)]
			for began := time.Now(); time.Since(began) < d.each && ctx.Err() == nil; {
				who, err := whoami(ctx, pool, name)
				calls.Add(1)
				switch {
				case err != nil:
					failed.Add(1)
					last.Store(err)
				case who != name:
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	l = load{Calls: calls.Load(), Failed: failed.Load(), Tokens: cache.Stats().Refreshes - before}
	l.last, _ = last.Load().(error)
	return l, wrong.Load()
}

func (l load) check(tokens uint64) error {
	switch {
	case l.Failed > 0:
		return fmt.Errorf("%d of %d calls failed: %w", l.Failed, l.Calls, l.last)
	case l.Calls == 0 || l.Tokens < tokens:
		return fmt.Errorf("%d calls and %d tokens", l.Calls, l.Tokens)
	}
	return nil
}

func (d *demo) machine(ctx context.Context) (string, error) {
	cache, err := d.newCache(oauth.Config{
		Grant: oauth.ClientCredentials, Issuer: d.issuer.Issuer(),
		Client: oauth.Client{ID: machineID, Secret: auth.NewSecret(machineSecret)},
	})
	if err != nil {
		return "", err
	}
	defer cache.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything was looked at before
	pool, err := mcpool.Open(ctx, mcpool.Config{
		Name: "example", Endpoint: d.endpoint, Auth: cache, Identity: auth.Identity{ID: machineID},
	})
	if err != nil {
		return "", err
	}
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // likewise
	d.Machine, _ = d.under(ctx, pool, cache, machineID)
	return fmt.Sprintf("%d calls, %d failed, %d tokens", d.Machine.Calls, d.Machine.Failed, cache.Stats().Refreshes), d.Machine.check(1)
}

// needsLogin calls until the answer is that a login is needed.
func needsLogin(ctx context.Context, pool *mcpool.Pool, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		_, err := whoami(ctx, pool, name)
		refusal, ok := errors.AsType[*mcpool.AuthError](err)
		switch {
		case ok && refusal.NeedsLogin:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s was never asked to log in: %w", name, err)
		}
	}
}

func (d *demo) notYet(ctx context.Context) (string, error) {
	err := needsLogin(ctx, d.people, "carol")
	d.Asked = err == nil
	return "the call fails, and says so", err
}

// login is what the application does when a person wants in.
func (d *demo) login(ctx context.Context, cache *auth.Cache, name string) error {
	i, ok := auth.AsInteractive(cache)
	if !ok {
		return auth.ErrUnsupported
	}
	who := auth.Request{Identity: auth.Identity{ID: name}, Target: auth.Target{Name: "example", URL: d.endpoint}}
	return i.Login(ctx, who, &oauth.LoopbackDialog{Out: io.Discard, Open: person(name)})
}

func (d *demo) loggedIn(ctx context.Context) (string, error) {
	for _, name := range []string{"alice", "bob"} {
		if err := d.login(ctx, d.cache, name); err != nil {
			return "", err
		}
	}
	d.People, d.Crossed = d.under(ctx, d.people, d.cache, "alice", "bob")
	err := d.People.check(2)
	if err == nil && d.Crossed > 0 {
		err = fmt.Errorf("%d answers were for somebody else", d.Crossed)
	}
	return fmt.Sprintf("%d calls, %d failed, %d crossed, %d tokens", d.People.Calls, d.People.Failed, d.Crossed, d.People.Tokens), err
}

func (d *demo) revoked(ctx context.Context) (string, error) {
	d.issuer.RevokeUser("alice")
	if err := needsLogin(ctx, d.people, "alice"); err != nil {
		return "", err
	}
	if err := is(ctx, d.people, "bob"); err != nil {
		return "", err
	}
	if err := d.login(ctx, d.cache, "alice"); err != nil {
		return "", err
	}
	err := is(ctx, d.people, "alice")
	d.Revoked = err == nil
	return "she is asked to log in, and is back", err
}

// kept is another program with the same token file.
func (d *demo) kept(ctx context.Context) (string, error) {
	cache, err := d.newCache(oauth.Config{TokenFile: d.tokens})
	if err != nil {
		return "", err
	}
	defer cache.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything was looked at before
	pool, err := d.newPool(ctx, cache)
	if err != nil {
		return "", err
	}
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // likewise
	err = is(ctx, pool, "bob")
	d.Kept = err == nil
	return "another one needs none", err
}

func (d *demo) deviceCode(ctx context.Context) (string, error) {
	cache, err := d.newCache(oauth.Config{Grant: oauth.DeviceCode})
	if err != nil {
		return "", err
	}
	defer cache.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything was looked at before
	pool, err := d.newPool(ctx, cache)
	if err != nil {
		return "", err
	}
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // likewise
	if err := d.login(ctx, cache, "dave"); err != nil {
		return "", err
	}
	err = is(ctx, pool, "dave")
	d.Device = err == nil
	return "he is in", err
}

// person fills in the form that the browser would show, and sends it.
func person(name string) func(context.Context, string) error {
	return func(ctx context.Context, rawURL string) error {
		u, err := url.Parse(rawURL)
		if err != nil {
			return err
		}
		form := u.Query()
		form.Set("user", name)
		form.Set("decision", "allow")
		u.RawQuery = ""
		go func() { // people take their time
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form.Encode()))
			if err != nil {
				return
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if resp, err := http.DefaultClient.Do(req); err == nil { // if not, the login says what is missing
				_ = resp.Body.Close()
			}
		}()
		return nil
	}
}
