package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
)

// Group is everything that a Config names, running. Config.Launch makes one.
type Group struct {
	plugins   map[string]*Running
	instances map[string]auth.Provider
	endpoints map[string]ConfigEndpoint
}

// Endpoint is a server, with what is to be used for it.
type Endpoint struct {
	// Name and URL are those of the configuration.
	Name, URL string
	// Auth has the credentials for it, nil where none are configured. It is the
	// instance's, which several endpoints may share; its Close does nothing, because the
	// Group's ends the instance.
	Auth auth.Provider
}

// Launch starts all plugins and opens all instances, or nothing: if something fails,
// what was started is ended. Secrets are fetched now. log gets what the plugins and the
// host say; nil is slog.Default(). ctx bounds the start alone. Errors name the path in
// the file.
func (c *Config) Launch(ctx context.Context, log *slog.Logger) (*Group, error) {
	if c.launch == nil {
		return nil, errors.New("host: this Config was not made by LoadConfig")
	}
	if log == nil {
		log = slog.Default()
	}
	g := &Group{
		plugins: make(map[string]*Running), instances: make(map[string]auth.Provider), endpoints: maps.Clone(c.Endpoints),
	}
	secrets, err := c.secrets(ctx)
	if err == nil {
		err = c.startAll(ctx, log, g)
	}
	if err == nil {
		err = c.openAll(ctx, g, secrets)
	}
	if err != nil {
		return nil, fmt.Errorf("host: %s: %w", c.path, errors.Join(err, g.Close(context.WithoutCancel(ctx))))
	}
	return g, nil
}

// secrets fetches those of every instance.
func (c *Config) secrets(ctx context.Context) (map[string]map[string]auth.Secret, error) {
	var f faults
	all := make(map[string]map[string]auth.Secret)
	for _, name := range slices.Sorted(maps.Keys(c.Instances)) {
		all[name] = make(map[string]auth.Secret)
		for _, field := range slices.Sorted(maps.Keys(c.Instances[name].Secrets)) {
			s, err := c.Instances[name].Secrets[field].fetch(ctx)
			if err != nil {
				f = append(f, &sourceError{config.FieldError{
					Field: at("instances", name, "secrets", field, "from"), Problem: err.Error(),
				}, err})
			}
			all[name][field] = s
		}
	}
	return all, errors.Join(f...)
}

// sourceError is a fault of a source with its cause.
type sourceError struct {
	config.FieldError
	err error
}

func (e *sourceError) Unwrap() []error { return []error{&e.FieldError, e.err} }

func (c *Config) startAll(ctx context.Context, log *slog.Logger, g *Group) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for name, p := range c.launch {
		p.Logger = log
		if wanted := c.wanted[name]; len(wanted) > 0 {
			log.Debug("a plugin would use variables that its env does not name", "plugin", name, "variables", wanted)
		}
		wg.Go(func() {
			r, err := Launch(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", at("plugins", name), err))
				return
			}
			g.plugins[name] = r
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Config) openAll(ctx context.Context, g *Group, secrets map[string]map[string]auth.Secret) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Instances)) {
		in := c.Instances[name]
		opened := Instance{Name: name, Secrets: secrets[name]}
		if in.Config != nil {
			opened.Config = in.Config
		}
		p, err := g.plugins[in.Plugin].Auth(ctx, opened)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", at("instances", name), err))
			continue
		}
		g.instances[name] = shared{p}
	}
	return errors.Join(errs...)
}

// Endpoint returns a server of the configuration.
func (g *Group) Endpoint(name string) (Endpoint, error) {
	ep, ok := g.endpoints[name]
	if !ok {
		return Endpoint{}, fmt.Errorf("host: there is no endpoint %q: there are %q", name, slices.Sorted(maps.Keys(g.endpoints)))
	}
	return Endpoint{Name: name, URL: ep.URL, Auth: g.instances[ep.Auth]}, nil
}

// Plugin returns a plugin of the configuration, for Replace, Stats and instances of
// other kinds; nil if there is none of that name. Close is the Group's to call.
func (g *Group) Plugin(name string) *Running { return g.plugins[name] }

// Close ends every plugin, as Running.Close does, all at once.
func (g *Group) Close(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(g.plugins))
	for i, name := range slices.Sorted(maps.Keys(g.plugins)) {
		wg.Go(func() { errs[i] = g.plugins[name].Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

var _ auth.Provider = shared{}

// shared is an instance that outlives those who use it.
type shared struct{ auth.Provider }

// Close does nothing.
func (shared) Close(context.Context) error { return nil }

// Signer is the instance's; see auth.AsSigner.
func (s shared) Signer() (auth.Signer, bool) { return auth.AsSigner(s.Provider) }

// Interactive is the instance's; see auth.AsInteractive.
func (s shared) Interactive() (auth.Interactive, bool) { return auth.AsInteractive(s.Provider) }

// Observer is the instance's; see auth.AsObserver.
func (s shared) Observer() (auth.Observer, bool) { return auth.AsObserver(s.Provider) }
