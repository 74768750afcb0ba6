package oauth

import (
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

const resourceURL = "https://mcp.example/mcp"

func TestClientCredentialsWorkWithEveryWayToAuthenticateAgainstACertifiedServer(t *testing.T) {
	t.Parallel()
	s := oidc(t)
	for _, tt := range []struct {
		name   string
		client Client
	}{
		{"basic", Client{ID: "cc-basic", Secret: auth.NewSecret(oidcSecret), AuthMethod: methodBasic}},
		{"post", Client{ID: "cc-post", Secret: auth.NewSecret(oidcSecret)}},
		{"private key", Client{ID: "cc-jwt", PrivateKey: s.key, KeyID: "key-1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newTest(t, Config{Grant: ClientCredentials, Issuer: s.issuer, Client: tt.client, Scopes: []string{"mcp:read"}})
			c := credentials(t, p, requestFor("", resourceURL))
			about, err := s.introspect(t.Context(), bearer(t, c))
			if err != nil {
				t.Fatal(err)
			}
			if about["active"] != true || about["aud"] != resourceURL || about["scope"] != "mcp:read" || about["client_id"] != tt.client.ID {
				t.Errorf("introspection says %v", about)
			}
		})
	}
}
