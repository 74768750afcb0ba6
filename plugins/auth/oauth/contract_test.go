package oauth

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

func open(_ context.Context, cfg Config) (*Provider, error) { return New(cfg) }

// contractServer is an authorization server on loopback.
func contractServer(t *testing.T) string {
	t.Helper()
	as := newFakeAS()
	issue := as.tokenHandler()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{
			"issuer": server.URL, "token_endpoint": server.URL + "/token", "authorization_endpoint": server.URL + "/authorize",
			"code_challenge_methods_supported": []string{"S256"}, "dpop_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("DPoP") != "" {
			writeJSON(w, map[string]any{"access_token": "dpop-token-0123456789", "token_type": "DPoP", "expires_in": 3600})
			return
		}
		_, secret, _ := r.BasicAuth()
		if r.ParseForm() == nil && secret == "" {
			secret = r.PostForm.Get("client_secret")
		}
		if secret != fakeSecret {
			oauthError(w, http.StatusUnauthorized, "invalid_client", "wrong secret")
			return
		}
		issue(w, r)
	})
	return server.URL
}

func TestContract(t *testing.T) {
	t.Parallel()
	server, silent := contractServer(t), plugintest.Silent(t)
	client := Client{ID: "client", Secret: auth.NewSecret(fakeSecret)}
	for name, dpop := range map[string]bool{"bearer": false, "DPoP": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := func(endpoint string, c Client) Config {
				return Config{Grant: ClientCredentials, TokenEndpoint: endpoint + "/token", Client: c, DPoP: dpop}
			}
			stalled := cfg(silent, client)
			failures := []plugintest.AuthFailure[Config]{
				{Name: "no client", Config: cfg(server, Client{Secret: client.Secret}), Field: "Client.ID"},
			}
			if !dpop {
				failures = append(failures, plugintest.AuthFailure[Config]{
					Name: "wrong secret", Is: auth.ErrCredentialsRejected,
					Config: cfg(server, Client{ID: "client", Secret: auth.NewSecret("not-the-secret")}),
				})
			}
			plugintest.Auth(t, open, plugintest.AuthOptions[Config]{
				Config: cfg(server, client), Stalled: &stalled,
				Login:    &Config{Issuer: server, Client: client, DPoP: dpop},
				Failures: failures, Headers: []string{"Authorization", "Dpop"},
				Others: []auth.Request{requestFor("alice", "https://api.example/mcp")},
			})
		})
	}
}

func TestTheBinaryKeepsTheContract(t *testing.T) {
	t.Parallel()
	server, silent := contractServer(t), plugintest.Silent(t)
	in := func(endpoint, secret string) host.Instance {
		cfg, err := json.Marshal(map[string]any{
			"grant": "client_credentials", "token_endpoint": endpoint + "/token", "client": map[string]string{"id": "client"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return host.Instance{
			Name: "a", Config: json.RawMessage(cfg), Secrets: map[string]auth.Secret{"client.secret": auth.NewSecret(secret)},
		}
	}
	stalled := in(silent, fakeSecret)
	nobody := host.Instance{
		Name: "a", Config: map[string]string{"grant": "client_credentials", "token_endpoint": server + "/token"},
		Secrets: stalled.Secrets,
	}
	login := host.Instance{
		Name: "a", Config: map[string]any{"issuer": server, "client": map[string]string{"id": "client"}},
		Secrets: stalled.Secrets,
	}
	plugintest.Binary(t, plugintest.Build(t, "./cmd/mcpool-auth-oauth"), plugintest.BinaryOptions{
		Auth: &plugintest.AuthOptions[host.Instance]{
			Config: in(server, fakeSecret), Stalled: &stalled, Login: &login,
			Failures: []plugintest.AuthFailure[host.Instance]{
				{Name: "no client", Config: nobody, Field: "Client.ID"},
				{Name: "wrong secret", Config: in(server, "not-the-secret"), Is: auth.ErrCredentialsRejected},
			},
		},
	})
}
