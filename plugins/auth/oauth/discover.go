package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// server is the authorization server of a target, and how to ask it for that
// target's tokens. It is immutable.
type server struct {
	issuer   string
	resource string // RFC 8707
	reach    reach

	scopes      []string // to ask for when nobody named any
	metadataURL string   // that the target's challenge named; may be empty
	legacy      bool     // the target has no metadata: MCP 2025-03-26
}

// targetState is what is known of one target.
type targetState struct {
	sem    chan struct{} // held while the target's metadata are fetched
	server *server       // guarded by Provider.mu; nil until discovered
	at     time.Time     // guarded by Provider.mu; of the discovery
	loaded bool          // guarded by Provider.mu; the store was asked for an earlier discovery
	scopes []string      // guarded by Provider.mu; of the last 401, where the issuer is configured
}

// rediscoverAfter is how old a discovery is when a 401 makes it doubtful.
const rediscoverAfter = 5 * time.Minute

func (p *Provider) configured() bool { return p.cfg.Issuer != "" || p.cfg.TokenEndpoint != "" }

func (p *Provider) target(t auth.Target) *targetState {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := [2]string{t.URL, t.Resource}
	st := p.targets[key]
	if st == nil {
		st = &targetState{sem: make(chan struct{}, 1)}
		p.targets[key] = st
	}
	return st
}

// known returns the server of a target as far as that takes no network; nil if it
// must be discovered.
func (p *Provider) known(ctx context.Context, t auth.Target) (*server, error) {
	st := p.target(t)
	if !p.configured() {
		p.mu.Lock()
		srv, asked := st.server, st.loaded
		p.mu.Unlock()
		if srv != nil || asked {
			return srv, nil
		}
		return p.remembered(ctx, t, st)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	resource, err := canonicalResource(t)
	if err != nil {
		return nil, err
	}
	issuer := p.cfg.Issuer
	if issuer == "" {
		issuer = p.cfg.TokenEndpoint
	}
	return &server{issuer: issuer, resource: resource, reach: p.reach(t), scopes: st.scopes}, nil
}

func (p *Provider) reach(t auth.Target) reach {
	return reachOf(p.cfg.Issuer, p.cfg.TokenEndpoint, p.cfg.IDP.Issuer, p.cfg.IDP.TokenEndpoint, t.URL)
}

// discover finds the server of a target that was not configured. Callers that come
// while it is at work share what it finds, if they came for the same.
func (p *Provider) discover(ctx context.Context, t auth.Target, a asked) (*server, error) {
	began := time.Now()
	st := p.target(t)
	select {
	case st.sem <- struct{}{}:
		defer func() { <-st.sem }()
	case <-ctx.Done():
		return nil, fmt.Errorf("oauth: waiting for the discovery of %v: %w", t, ctx.Err())
	}
	p.mu.Lock()
	srv, at := st.server, st.at
	p.mu.Unlock()
	if srv != nil && !at.Before(began) && srv.metadataURL == a.metadataURL {
		return srv, nil
	}
	srv, err := p.findServer(withReach(ctx, p.reach(t)), t, a)
	if err != nil {
		return nil, err
	}
	if err := p.remember(ctx, t, srv); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	st.server, st.at, st.loaded = srv, time.Now(), true
	return srv, nil
}

func (p *Provider) findServer(ctx context.Context, t auth.Target, a asked) (*server, error) {
	resource, err := canonicalResource(t)
	if err != nil {
		return nil, err
	}
	prm, err := p.resourceMetadata(ctx, t, a.metadataURL)
	if err != nil {
		return nil, err
	}
	srv := &server{resource: resource, reach: p.reach(t), scopes: a.scopes, metadataURL: a.metadataURL}
	if prm == nil {
		srv.issuer, srv.legacy = originOf(t.URL), true
		return srv, nil
	}
	if t.Resource == "" {
		srv.resource = prm.Resource
	}
	if len(srv.scopes) == 0 {
		srv.scopes = slices.DeleteFunc(slices.Clone(prm.ScopesSupported), func(s string) bool { return !isScope(s) })
	}
	for _, issuer := range prm.AuthorizationServers {
		if srv.reach.mayCall(issuer) {
			srv.issuer = issuer
			return srv, nil
		}
	}
	return nil, &EndpointError{
		Doing: "discovering the authorization server", Endpoint: redactURL(t.URL),
		Err:  errors.New("its metadata name none that is https"),
		Hint: "set Config.Issuer, or have the target's operator mend its metadata",
	}
}

// resourceMetadata looks where the challenge said, then in the well-known places
// (RFC 9728, 3.1). It returns nil if there is none.
func (p *Provider) resourceMetadata(ctx context.Context, t auth.Target, named string) (*oauthex.ProtectedResourceMetadata, error) {
	places := wellKnownResource(t.URL)
	if named != "" && !slices.Contains(places, named) {
		if !p.reach(t).mayCall(named) {
			return nil, &EndpointError{
				Doing: "reading resource metadata", Endpoint: redactURL(named),
				Err: errors.New("the target's 401 names a URL that is not https"),
			}
		}
		places = append([]string{named}, places...)
	}
	for _, place := range places {
		prm := new(oauthex.ProtectedResourceMetadata)
		err := p.fetch(ctx, "reading resource metadata", place, prm)
		if errors.Is(err, errNoDocument) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !describes(prm.Resource, place, t) {
			return nil, &EndpointError{
				Doing: "reading resource metadata", Endpoint: redactURL(place),
				Err:  fmt.Errorf("they describe another resource, %q", redactURL(prm.Resource)),
				Hint: "a token for it must not go to " + redactURL(t.URL) + ": set Target.Resource if it may",
			}
		}
		return prm, nil
	}
	return nil, nil //nolint:nilnil // no metadata is an answer
}

// describes reports whether metadata found at a place may speak of a resource to
// those who want to talk to the target. Either it is the target, or it is above the
// target and its own well-known place says so: on a host with many tenants, any of
// them could claim the host for itself, but only the host can there (RFC 9728, 7.3).
func describes(resource, place string, t auth.Target) bool {
	if t.Resource != "" && oauthex.MatchesResource([]string{resource}, t.Resource) {
		return true
	}
	target, err := canonicalResource(auth.Target{URL: t.URL})
	if err != nil {
		return false
	}
	claimed, err := canonicalResource(auth.Target{URL: resource})
	if err != nil {
		return false
	}
	if oauthex.MatchesResource([]string{claimed}, target) {
		return true
	}
	u, err := url.Parse(claimed)
	if err != nil || u.RawQuery != "" {
		return false
	}
	above := strings.HasPrefix(target, strings.TrimSuffix(claimed, "/")+"/")
	own := wellKnownResource(claimed)
	return above && len(own) > 0 && own[0] == place
}

// wellKnownResource lists the places of a resource's metadata: below its own path,
// then at the root.
func wellKnownResource(raw string) []string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil
	}
	root := u.Scheme + "://" + u.Host + "/.well-known/oauth-protected-resource"
	path := strings.Trim(u.EscapedPath(), "/")
	if path == "" {
		return []string{root}
	}
	return []string{root + "/" + path, root}
}

// canonicalResource is the resource indicator of a target (RFC 8707, MCP's "canonical
// server URI"): an absolute URI without fragment, scheme and host in lower case.
func canonicalResource(t auth.Target) (string, error) {
	raw, field := t.Resource, "Target.Resource"
	if raw == "" {
		raw, field = t.URL, "Target.URL"
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || field == "Target.URL" && u.Host == "" {
		return "", &auth.ConfigError{Field: field, Problem: "is not an absolute URL"}
	}
	if u.Host == "" { // a URN
		return raw, nil
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	return u.String(), nil
}

// probe asks the target itself where to log in, as a request without credentials
// would find out.
func (p *Provider) probe(ctx context.Context, t auth.Target) asked {
	req, err := http.NewRequestWithContext(withReach(ctx, p.reach(t)), http.MethodGet, t.URL, nil)
	if err != nil {
		return asked{}
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := p.guard.discoveryClient().Do(req)
	if err != nil {
		return asked{}
	}
	resp.Body.Close() // unread: it may be a stream
	if resp.StatusCode != http.StatusUnauthorized {
		return asked{}
	}
	return readChallenge(resp.Header)
}
