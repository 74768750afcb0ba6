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
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// Group is everything that a Config names, running. Config.Launch makes one.
type Group struct {
	plugins   map[string]*Running
	instances map[string]any // what Running returned, by name
	endpoints map[string]ConfigEndpoint
}

// Endpoint is a server, with what is to be used for it. What is not configured is nil.
// Instances may be shared by several endpoints and end with the Group: nothing here has
// to be closed, and a Close that there is does nothing. For a pool of MCP sessions:
//
//	mcpool.Config{Endpoint: ep.URL, Auth: ep.Auth, Dialer: ep.Transport, HealthProbe: mcpool.ProbeWith(ep.Probe)}
type Endpoint struct {
	// Name and URL are those of the configuration.
	Name, URL string
	// Auth has the credentials for it.
	Auth auth.Provider
	// Transport opens connections to it.
	Transport transport.Dialer
	// Probe tells whether its sessions are good.
	Probe probe.Prober
	// Metrics takes what is measured, of several endpoints one batch at a time.
	Metrics metrics.Sink
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
		plugins: make(map[string]*Running), instances: make(map[string]any), endpoints: maps.Clone(c.Endpoints),
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
		instance, err := openShared(ctx, g.plugins[in.Plugin], in.Kind, opened)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", at("instances", name), err))
			continue
		}
		g.instances[name] = instance
	}
	return errors.Join(errs...)
}

// openShared opens an instance of a kind, as something that outlives those who use it.
func openShared(ctx context.Context, r *Running, kind string, in Instance) (any, error) {
	switch kind {
	case wire.KindTransport:
		return r.Transport(ctx, in)
	case wire.KindProbe:
		return r.Probe(ctx, in)
	case wire.KindMetrics:
		sink, err := r.Metrics(ctx, in)
		return &sharedSink{sink: sink, turn: make(chan struct{}, 1)}, err
	default: // check lets no others through
		p, err := r.Auth(ctx, in)
		return shared{p}, err
	}
}

// Endpoint returns a server of the configuration.
func (g *Group) Endpoint(name string) (Endpoint, error) {
	ep, ok := g.endpoints[name]
	if !ok {
		return Endpoint{}, fmt.Errorf("host: there is no endpoint %q: there are %q", name, slices.Sorted(maps.Keys(g.endpoints)))
	}
	e := Endpoint{Name: name, URL: ep.URL}
	e.Auth, _ = g.instances[ep.Auth].(auth.Provider)
	e.Transport, _ = g.instances[ep.Transport].(transport.Dialer)
	e.Probe, _ = g.instances[ep.Probe].(probe.Prober)
	e.Metrics, _ = g.instances[ep.Metrics].(metrics.Sink)
	return e, nil
}

// Plugin returns a plugin of the configuration, for Replace, Stats and instances that
// are not in the file; nil if there is none of that name. Close is the Group's to call.
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

var _ metrics.Sink = (*sharedSink)(nil)

// sharedSink is a sink that outlives those who use it. A sink is promised one batch at
// a time, which the endpoints that share it cannot promise together.
type sharedSink struct {
	sink metrics.Sink
	turn chan struct{} // holds a token while a batch is exported
}

// Export waits for its turn.
func (s *sharedSink) Export(ctx context.Context, b metrics.Batch) (metrics.Result, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return metrics.Result{}, fmt.Errorf("host: waiting for another endpoint's batch: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	return s.sink.Export(ctx, b)
}

// Close does nothing.
func (*sharedSink) Close(context.Context) error { return nil }
