package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/go-mcpool/mcpool/examples/internal/pluginbuild"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/plugins/auth/oauth"
	"github.com/go-mcpool/mcpool/plugins/auth/sigv4"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
)

// demo is what the steps share.
type demo struct {
	options
	report
	dir                   string
	signer, newer, tokens pluginbuild.Binary
	servers               *servers
	sigv4, oauth          side
	local                 *mcpool.Pool // signs in process
}

// side is a plugin, the pool that it lets in, and who calls there.
type side struct {
	plugin *host.Running
	cache  *auth.Cache
	pool   *mcpool.Pool
	calls  *load
	pids   []int // all that there were
}

// limits have the host notice within seconds that a plugin hangs, and go on starting it
// however often it is killed.
func limits() host.Limits {
	return host.Limits{Health: 500 * time.Millisecond, HealthTimeout: 2 * time.Second, CircuitAfter: -1}
}

func (d *demo) logger() *slog.Logger {
	if d.verbose {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

func (d *demo) start(ctx context.Context) (string, error) {
	var err error
	if d.servers, err = startServers(ctx); err != nil {
		return "", err
	}
	if err := errors.Join(d.startSigV4(ctx), d.startOAuth(ctx)); err != nil {
		return "", err
	}
	keys := &aws.Config{Credentials: credentials.NewStaticCredentialsProvider(accessKey, secret, "")}
	signer, err := sigv4.New(sigv4.Config{Service: service, Region: region, AWS: keys})
	if err != nil {
		return "", err
	}
	d.local, err = mcpool.Open(ctx, mcpool.Config{Name: "in process", Endpoint: d.servers.signed.Endpoint, Auth: signer})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("plugins are processes %d and %d", d.sigv4.plugin.Stats().PID, d.oauth.plugin.Stats().PID), nil
}

func (d *demo) startSigV4(ctx context.Context) error {
	// On AWS the platform sets these, and they reach the plugin by EnvAWS.
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	// snippet:begin plugin
	plugin, err := host.Launch(ctx, host.Plugin{
		Path: d.signer.Path, SHA256: d.signer.SHA256, Env: host.EnvAWS(), Limits: limits(), Logger: d.logger(),
	})
	if err != nil {
		return err
	}
	d.sigv4.plugin = plugin
	signer, err := plugin.Auth(ctx, host.Instance{
		Name: "agents", Config: sigv4.Config{Service: service, Region: region},
	})
	if err != nil {
		return err
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Name: "signed", Endpoint: d.servers.signed.Endpoint, Auth: signer})
	// snippet:end plugin
	d.sigv4.pool = pool
	d.sigv4.pids = append(d.sigv4.pids, plugin.Stats().PID)
	return err
}

func (d *demo) startOAuth(ctx context.Context) error {
	plugin, err := host.Launch(ctx, host.Plugin{
		Path: d.tokens.Path, SHA256: d.tokens.SHA256, Limits: limits(), Logger: d.logger(),
	})
	if err != nil {
		return err
	}
	d.oauth.plugin = plugin
	d.oauth.pids = append(d.oauth.pids, plugin.Stats().PID)
	provider, err := plugin.Auth(ctx, host.Instance{
		Name: "machine",
		Config: oauth.Config{
			Grant: oauth.ClientCredentials, Issuer: d.servers.issuer.Issuer(), Client: oauth.Client{ID: machineID},
		},
		Secrets: map[string]auth.Secret{"client.secret": auth.NewSecret(secret)},
	})
	if err != nil {
		return err
	}
	if d.oauth.cache, err = auth.NewCache(provider, auth.CacheConfig{Instance: "oauth"}); err != nil {
		return err
	}
	d.oauth.pool, err = mcpool.Open(ctx, mcpool.Config{
		Name: "with tokens", Endpoint: d.servers.endpoint, Auth: d.oauth.cache, Identity: auth.Identity{ID: machineID},
	})
	return err
}

// compare times calls one by one, in turn, so that what disturbs the machine disturbs
// both alike.
func (d *demo) compare(ctx context.Context) (string, error) {
	var local, remote []time.Duration
	for range d.samples {
		for _, one := range []struct {
			pool *mcpool.Pool
			took *[]time.Duration
		}{{d.local, &local}, {d.sigv4.pool, &remote}} {
			began := time.Now()
			if err := callAs(ctx, one.pool, "the application"); err != nil {
				return "", err
			}
			*one.took = append(*one.took, time.Since(began))
		}
	}
	d.SigV4.InProcess, d.SigV4.Binary = median(local), median(remote)
	return fmt.Sprintf("median of %d calls: %.0f µs and %.0f µs", d.samples, d.SigV4.InProcess, d.SigV4.Binary), nil
}

// median is in microseconds.
func median(of []time.Duration) float64 {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return float64(of[len(of)/2].Nanoseconds()) / 1e3
}

func (d *demo) load(ctx context.Context) (string, error) {
	d.sigv4.calls = startLoad(ctx, d.sigv4.pool, "the application")
	d.oauth.calls = startLoad(ctx, d.oauth.pool, machineID)
	err := errors.Join(d.sigv4.calls.everyone(ctx), d.askedAgain(ctx))
	return fmt.Sprintf("%d callers each; they go on until the end", callers), err
}

// askedAgain waits until the OAuth plugin has fetched another token, and everybody
// has made use of it.
func (d *demo) askedAgain(ctx context.Context) error {
	before := d.servers.issuer.Stats().Machine
	if err := until(ctx, "another token", func() bool { return d.servers.issuer.Stats().Machine > before }); err != nil {
		return err
	}
	return d.oauth.calls.everyone(ctx)
}

// finish ends all calls, then everything else, and looks what is left.
func (d *demo) finish(ctx context.Context) (string, error) {
	d.SigV4.counts, d.OAuth = d.sigv4.calls.end(), d.oauth.calls.end()
	err := errors.Join(d.sigv4.calls.check(), d.oauth.calls.check(), d.close(ctx))
	pids := append(slices.Clone(d.sigv4.pids), d.oauth.pids...)
	for _, pid := range pids {
		if alive(pid) {
			d.Left++
		}
	}
	if d.Left > 0 {
		err = errors.Join(err, fmt.Errorf("%d of the processes %d are still there", d.Left, pids))
	}
	return fmt.Sprintf("%d plugin processes were there, %d are", len(pids), d.Left), err
}

// close ends what was started, once.
func (d *demo) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, s := range []*side{&d.sigv4, &d.oauth} {
		if s.calls != nil {
			s.calls.end()
		}
		if s.pool != nil {
			errs = append(errs, s.pool.Close(ctx))
		}
		if s.cache != nil {
			errs = append(errs, s.cache.Close(ctx))
		}
		if s.plugin != nil {
			errs = append(errs, s.plugin.Close(ctx))
		}
		s.pool, s.cache, s.plugin = nil, nil, nil
	}
	if d.local != nil {
		errs = append(errs, d.local.Close(ctx))
		d.local = nil
	}
	if d.servers != nil {
		d.servers.close()
		d.servers = nil
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
		d.dir = ""
	}
	return errors.Join(errs...)
}
