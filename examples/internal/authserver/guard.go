package authserver

import (
	"context"
	"net/http"
	"net/url"

	mcpauth "github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// Guard returns a handler that lets requests with a good token through to an MCP
// server at the given URL, which is also the resource. It serves the resource's
// metadata, and must get the requests for "/.well-known/" of that host too. Tools
// find who calls in TokenInfo.UserID of the request.
func (s *Server) Guard(resource string, next http.Handler, scopes ...string) (http.Handler, error) {
	u, err := url.Parse(resource)
	if err != nil {
		return nil, err
	}
	place := "/.well-known/oauth-protected-resource" + u.Path
	verify := func(_ context.Context, access string, _ *http.Request) (*mcpauth.TokenInfo, error) {
		t, ok := s.Check(access, resource)
		if !ok {
			return nil, mcpauth.ErrInvalidToken
		}
		return &mcpauth.TokenInfo{Scopes: t.Scopes, Expiration: t.Expires, UserID: t.User}, nil
	}
	mux := http.NewServeMux()
	mux.Handle(u.Path, mcpauth.RequireBearerToken(verify, &mcpauth.RequireBearerTokenOptions{
		ResourceMetadataURL: u.Scheme + "://" + u.Host + place, Scopes: scopes,
	})(next))
	mux.Handle(place, mcpauth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: resource, AuthorizationServers: []string{s.issuer}, ScopesSupported: s.cfg.Scopes,
	}))
	return mux, nil
}
