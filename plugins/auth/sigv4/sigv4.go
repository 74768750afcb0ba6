package sigv4

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

var (
	_ auth.Provider = (*Provider)(nil)
	_ auth.Signer   = (*Provider)(nil)
)

// Provider signs requests. It needs no auth.Cache in front of it, and works behind
// one.
type Provider struct {
	cfg    Config // immutable after creation
	keys   *auth.Cache
	signer *v4.Signer
	clocks clocks
	named  atomic.Pointer[named]
	now    func() time.Time // tests set it
}

// New returns a Provider. It reads the AWS configuration (environment and files)
// and calls nobody: keys are fetched when they are first needed.
func New(cfg Config) (*Provider, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	keys, err := auth.NewCache(newKeySource(&cfg), auth.CacheConfig{Instance: "AWS keys", MaxKeys: cfg.MaxIdentities})
	if err != nil {
		return nil, err
	}
	single := cfg.SingleEncodedPath
	return &Provider{
		cfg: cfg, keys: keys, now: time.Now,
		signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = single }),
	}, nil
}

// Credentials makes sure that there are keys to sign with, so that a failure to get
// them is known, and remembered, before a request is built. It returns no headers.
func (p *Provider) Credentials(ctx context.Context, req auth.Request) (auth.Credentials, error) {
	keys, err := p.keys.Credentials(ctx, p.keyRequest(req))
	if err != nil {
		return auth.Credentials{}, fmt.Errorf("sigv4: %w", err)
	}
	return auth.Credentials{
		Expires: keys.Expires, RefreshAfter: keys.RefreshAfter,
		Generation: p.generation(keys.Generation, req.Target),
	}, nil
}

// Close forgets the keys. Nothing runs afterwards.
func (p *Provider) Close(ctx context.Context) error {
	if err := p.keys.Close(ctx); err != nil {
		return fmt.Errorf("sigv4: %w", err)
	}
	return nil
}

// String shows service, region and role.
func (p *Provider) String() string {
	s := fmt.Sprintf("sigv4 for %s in %s", p.cfg.Service, p.cfg.Region)
	if p.cfg.RoleARN != "" {
		s += " as " + p.cfg.RoleARN
	}
	return s
}

// Format writes String for every verb.
func (p *Provider) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// LogValue is String.
func (p *Provider) LogValue() slog.Value { return slog.StringValue(p.String()) }

// generation names keys and clock: what a signature can be wrong in.
func (p *Provider) generation(keys string, target auth.Target) string {
	return p.name(keys, p.clocks.version(target.URL))
}

// named is the generation that was asked for last: with few identities, it is the
// next one too.
type named struct{ keys, clock, generation string }

func (p *Provider) name(keys, clock string) string {
	if n := p.named.Load(); n != nil && n.keys == keys && n.clock == clock {
		return n.generation
	}
	n := &named{keys, clock, "keys:" + keys + "/" + clock}
	p.named.Store(n)
	return n.generation
}
