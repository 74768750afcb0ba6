package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

var (
	_ auth.Provider    = (*Provider)(nil)
	_ auth.Interactive = interactive{}
)

// Provider obtains and renews tokens; see the package comment.
type Provider struct {
	// Immutable after creation.
	cfg    Config
	guard  *guard
	dpop   *dpop // nil without DPoP
	clocks clocks
	ctx    context.Context // ended by Close; parent of every flight
	cancel context.CancelFunc

	mu       sync.Mutex
	closed   bool                       // guarded by mu
	running  int                        // guarded by mu; flights and logins
	drained  chan struct{}              // guarded by mu; made by Close, closed when running falls to 0
	issuers  map[string]*issuerState    // guarded by mu
	targets  map[[2]string]*targetState // guarded by mu; by URL and Resource
	flights  map[flightKey]*flight      // guarded by mu; those under way
	failures map[Key]failure            // guarded by mu; of renewals, while old tokens are still valid
	logins   map[string]*login          // guarded by mu; those under way, by identity
}

// New returns a Provider. The error joins an *auth.ConfigError per fault.
func New(cfg Config) (*Provider, error) { return newProvider(cfg, nil) }

// newProvider lets tests say what names resolve to.
func newProvider(cfg Config, resolver *net.Resolver) (*Provider, error) {
	cfg.AuthorizationParams = maps.Clone(cfg.AuthorizationParams)
	if err := setDefaults(&cfg); err != nil {
		return nil, err
	}
	p := &Provider{
		cfg:      cfg,
		guard:    newGuard(cfg.TLS, cfg.Transport, cfg.PrivateNetworks, resolver),
		issuers:  make(map[string]*issuerState),
		targets:  make(map[[2]string]*targetState),
		flights:  make(map[flightKey]*flight),
		failures: make(map[Key]failure),
		logins:   make(map[string]*login),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if cfg.DPoP {
		p.dpop = &dpop{store: cfg.Store, clocks: &p.clocks, key: cfg.DPoPKey}
	}
	return p, nil
}

// Signer returns the signer of DPoP proofs, if Config.DPoP is set; see auth.AsSigner.
func (p *Provider) Signer() (auth.Signer, bool) { return p.dpop, p.dpop != nil }

// Observer returns what learns DPoP nonces from answers, if Config.DPoP is set; see
// auth.AsObserver.
func (p *Provider) Observer() (auth.Observer, bool) { return p.dpop, p.dpop != nil }

// Interactive returns the provider's logins, if the grant has any; see
// auth.AsInteractive.
func (p *Provider) Interactive() (auth.Interactive, bool) {
	return interactive{p}, p.cfg.Grant.interactive()
}

type interactive struct{ p *Provider }

func (i interactive) Login(ctx context.Context, req auth.Request, d auth.Dialog) error {
	return i.p.Login(ctx, req, d)
}

// anonymous is the generation of a request that carries no token, because nothing
// is known yet about who would issue one: the target's 401 will say.
const anonymous = "anonymous"

// Credentials implements auth.Provider. It answers from the store while the token
// there is fresh. A target whose authorization server is not known yet gets
// credentials without headers.
func (p *Provider) Credentials(ctx context.Context, req auth.Request) (auth.Credentials, error) {
	if p.isClosed() {
		return auth.Credentials{}, errClosed()
	}
	srv, err := p.known(ctx, req.Target)
	if err != nil {
		return auth.Credentials{}, err
	}
	if srv == nil {
		return auth.Credentials{Generation: anonymous}, nil
	}
	rec, err := p.load(ctx, p.key(srv, req))
	if err != nil {
		return auth.Credentials{}, err
	}
	needed := p.needed(req, rec)
	if rec.fresh(time.Now()) && rec.covers(needed) {
		return rec.credentials(), nil
	}
	rec, err = p.fly(ctx, req, srv, needed)
	if err != nil {
		return auth.Credentials{}, err
	}
	return rec.credentials(), nil
}

// Close ends logins where they wait for a person, and waits for token requests that
// are under way: a refresh whose answer is thrown away can cost a login. When ctx
// ends those are cancelled too, and the error says how many. The store is left as it
// is.
func (p *Provider) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.drained == nil {
		p.drained = make(chan struct{})
		if p.running == 0 {
			close(p.drained)
		}
	}
	p.closed = true
	for _, l := range p.logins {
		l.cancel()
	}
	drained := p.drained
	p.mu.Unlock()
	defer p.guard.closeIdle()
	defer p.cancel()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	n := p.running
	p.mu.Unlock()
	p.cancel()
	select { // they end with their context
	case <-drained:
	case <-time.After(closeGrace):
	}
	return fmt.Errorf("oauth: closing: %d token requests were cancelled: %w", n, ctx.Err())
}

// closeGrace is for what was cancelled to notice.
const closeGrace = 100 * time.Millisecond

// String names the grant and the servers, and nothing that is kept.
func (p *Provider) String() string { return "oauth provider: " + p.cfg.String() }

// Format writes String for every verb.
func (p *Provider) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// LogValue is String.
func (p *Provider) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalJSON is String, quoted.
func (p *Provider) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// key says where the tokens of a request are kept.
func (p *Provider) key(srv *server, req auth.Request) Key {
	return Key{
		Issuer: srv.issuer, Client: p.clientKey(), Resource: srv.resource,
		Identity: identityKey(req.Identity), Grant: p.grantKey(),
	}
}

func (p *Provider) load(ctx context.Context, key Key) (*record, error) {
	entry, err := p.cfg.Store.Load(ctx, key)
	if err != nil {
		return nil, err
	}
	rec, err := p.record(entry)
	return &rec, err
}

// record leaves out a token that this configuration cannot use: one that is bound
// to a key when there is to be none, or the other way round.
func (p *Provider) record(e Entry) (record, error) {
	rec, err := decode[record](e)
	if (rec.Type == "DPoP") != p.cfg.DPoP {
		rec.Access = ""
	}
	return rec, err
}

func (p *Provider) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func errClosed() error { return fmt.Errorf("oauth: %w", auth.ErrClosed) }

// endLocked counts down what beginLocked of a flight or a login counted up.
//
// REQUIRES: p.mu
func (p *Provider) endLocked() {
	p.running--
	if p.running == 0 && p.drained != nil {
		close(p.drained)
	}
}

// rejected reports whether trying again with the same will not help.
func rejected(err error) bool {
	return errors.Is(err, auth.ErrCredentialsRejected) || errors.Is(err, auth.ErrInteractionRequired) ||
		errors.Is(err, auth.ErrUnsupported)
}
