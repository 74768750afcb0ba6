package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// metadata is an authorization server's description of itself (RFC 8414).
type metadata struct {
	oauthex.AuthServerMeta
	DeviceAuthorizationEndpoint string   `json:"device_authorization_endpoint,omitempty"`
	DPoPAlgorithms              []string `json:"dpop_signing_alg_values_supported,omitempty"`

	// assumed says that there was no document: the endpoints are those that MCP
	// 2025-03-26 prescribes, or configured.
	assumed bool
}

// metadataAge is how old metadata may get before they are looked at again; what is
// there stays in use while that fails.
const metadataAge = time.Hour

// issuerState is what is known of one authorization server.
type issuerState struct {
	sem  chan struct{} // held while its metadata are fetched
	meta *metadata     // guarded by Provider.mu
	at   time.Time     // guarded by Provider.mu; of the last attempt
}

// metadata returns those of an issuer, from memory or from its well-known places.
// The error is errNoDocument if it has none.
func (p *Provider) metadata(ctx context.Context, issuer string, r reach) (*metadata, error) {
	p.mu.Lock()
	st := p.issuers[issuer]
	if st == nil {
		st = &issuerState{sem: make(chan struct{}, 1)}
		p.issuers[issuer] = st
	}
	p.mu.Unlock()
	select {
	case st.sem <- struct{}{}:
		defer func() { <-st.sem }()
	case <-ctx.Done():
		return nil, fmt.Errorf("oauth: waiting for the metadata of %s: %w", redactURL(issuer), ctx.Err())
	}
	p.mu.Lock()
	meta, at := st.meta, st.at
	p.mu.Unlock()
	if meta != nil && time.Since(at) < metadataAge {
		return meta, nil
	}
	fetched, err := p.fetchMetadata(withReach(ctx, r), issuer, r)
	if err != nil && meta == nil {
		return nil, err
	}
	if err == nil {
		meta = fetched
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	st.meta, st.at = meta, time.Now()
	return meta, nil
}

func (p *Provider) fetchMetadata(ctx context.Context, issuer string, r reach) (*metadata, error) {
	urls, err := metadataURLs(issuer)
	if err != nil {
		return nil, err
	}
	var missing error
	for _, u := range urls {
		m := new(metadata)
		err := p.fetch(ctx, "reading authorization server metadata", u, m)
		if err == nil {
			err = m.check(issuer, r)
		}
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, errNoDocument) {
			return nil, err
		}
		if missing == nil {
			missing = err
		}
	}
	return nil, missing
}

// metadataURLs are where MCP says to look, in that order.
func metadataURLs(issuer string) ([]string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("oauth: %q is not an issuer", redactURL(issuer))
	}
	base := u.Scheme + "://" + u.Host
	path := strings.Trim(u.EscapedPath(), "/")
	if path == "" {
		return []string{
			base + "/.well-known/oauth-authorization-server",
			base + "/.well-known/openid-configuration",
		}, nil
	}
	return []string{
		base + "/.well-known/oauth-authorization-server/" + path,
		base + "/.well-known/openid-configuration/" + path,
		base + "/" + path + "/.well-known/openid-configuration",
	}, nil
}

// check holds metadata against the issuer they were fetched for: one that speaks for
// another would have our codes and secrets sent wherever it likes (RFC 8414, 3.3).
func (m *metadata) check(issuer string, r reach) error {
	fail := func(problem string) error {
		return &EndpointError{
			Doing: "reading authorization server metadata", Endpoint: redactURL(issuer),
			Err: errors.New(problem), Hint: "do not log in there: ask who runs it",
		}
	}
	if !sameIssuer(m.Issuer, issuer) {
		return fail(fmt.Sprintf("the metadata are those of another issuer, %q", redactURL(m.Issuer)))
	}
	for name, endpoint := range map[string]string{
		"authorization_endpoint":        m.AuthorizationEndpoint,
		"token_endpoint":                m.TokenEndpoint,
		"registration_endpoint":         m.RegistrationEndpoint,
		"device_authorization_endpoint": m.DeviceAuthorizationEndpoint,
	} {
		if endpoint != "" && !r.mayCall(endpoint) {
			return fail(fmt.Sprintf("%s %q is not https", name, redactURL(endpoint)))
		}
	}
	if m.TokenEndpoint == "" {
		return fail("there is no token_endpoint")
	}
	return nil
}

// mayCall reports whether a URL from a document may be called at all; where it may
// lead is the guard's affair.
func (r reach) mayCall(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && r.loopback && isLoopback(u.Hostname())
}

// supportsPKCE reports whether the server says so, as MCP wants to hear.
func (m *metadata) supportsPKCE() bool {
	return m.assumed || slices.Contains(m.CodeChallengeMethodsSupported, "S256")
}

// assumedMetadata are the endpoints of a server without metadata (MCP 2025-03-26).
func assumedMetadata(issuer string) *metadata {
	m := &metadata{assumed: true}
	base := strings.TrimSuffix(issuer, "/")
	m.Issuer = issuer
	m.AuthorizationEndpoint, m.TokenEndpoint, m.RegistrationEndpoint = base+"/authorize", base+"/token", base+"/register"
	return m
}
