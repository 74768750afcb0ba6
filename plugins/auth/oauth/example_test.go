package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"

	"github.com/go-mcpool/mcpool/plugins/auth/oauth"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
)

// exampleServer is both an MCP server and its authorization server.
func exampleServer() *httptest.Server {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	answer := func(format string, args ...any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, format, args...)
		}
	}
	u := server.URL
	mux.HandleFunc("/.well-known/oauth-protected-resource/mcp", answer(`{"resource":"%s/mcp","authorization_servers":["%s"]}`, u, u))
	mux.HandleFunc("/.well-known/oauth-authorization-server", answer(
		`{"issuer":"%s","token_endpoint":"%s/token","authorization_endpoint":"%s/authorize","registration_endpoint":"%s/register","code_challenge_methods_supported":["S256"]}`, u, u, u, u))
	mux.HandleFunc("/register", answer(`{"client_id":"an-id"}`))
	mux.HandleFunc("/token", answer(`{"access_token":"a-token","token_type":"Bearer","expires_in":3600,"refresh_token":"another"}`))
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := url.Values{"code": {"a-code"}, "state": {r.FormValue("state")}}
		http.Redirect(w, r, r.FormValue("redirect_uri")+"?"+q.Encode(), http.StatusFound)
	})
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer a-token" {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+u+`/.well-known/oauth-protected-resource/mcp"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "hello")
	})
	return server
}

// An application that acts for itself: no person, no discovery from the target.
func ExampleNew() {
	server := exampleServer()
	defer server.Close()

	provider, err := oauth.New(oauth.Config{
		Grant:  oauth.ClientCredentials,
		Issuer: server.URL,
		Client: oauth.Client{ID: "my-agent", Secret: auth.NewSecret("from a vault")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache, err := auth.NewCache(provider, auth.CacheConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close(context.Background())

	transport, err := authhttp.New(authhttp.Config{
		Provider: cache,
		Request:  auth.Request{Target: auth.Target{URL: server.URL + "/mcp"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := (&http.Client{Transport: transport}).Get(server.URL + "/mcp")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

// Every fault of a configuration is reported at once, by its field.
func ExampleNew_faults() {
	_, err := oauth.New(oauth.Config{
		Grant:  "password",
		Client: oauth.Client{ID: "my-agent", Secret: auth.NewSecret("from a vault")},
	})
	fmt.Println(err)
	// Output:
	// auth: config: Grant = "password" is not one of ["authorization_code" "device_code" "client_credentials" "token_exchange" "identity_assertion" "jwt_bearer"]
	// auth: config: Issuer is empty, so that a target could name any server and be sent Client.Secret: set Issuer, or AnyIssuer
}

// A person logs in once; tokens are kept in a file, which other processes share.
func ExampleProvider_Login() {
	server := exampleServer()
	defer server.Close()
	dir, err := os.MkdirTemp("", "mcpool")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	store, err := oauth.OpenFileStore(filepath.Join(dir, "tokens.json"))
	if err != nil {
		fmt.Println(err)
		return
	}
	provider, err := oauth.New(oauth.Config{Store: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer provider.Close(context.Background())

	req := auth.Request{
		Identity: auth.Identity{ID: "alice"},
		Target:   auth.Target{URL: server.URL + "/mcp"},
	}
	dialog := &oauth.LoopbackDialog{
		Out: devNull{}, // default: os.Stderr
		Open: func(_ context.Context, url string) error { // oauth.OpenBrowser, with a person
			go func() {
				if resp, err := http.Get(url); err == nil {
					resp.Body.Close()
				}
			}()
			return nil
		},
	}
	if err := provider.Login(context.Background(), req, dialog); err != nil {
		fmt.Println(err)
		return
	}
	creds, err := provider.Credentials(context.Background(), req)
	fmt.Println(creds.Header.Get("Authorization") != "", err)

	req.Identity.ID = "bob"
	_, err = provider.Credentials(context.Background(), req)
	fmt.Println(errors.Is(err, auth.ErrInteractionRequired))
	// Output:
	// true <nil>
	// true
}

type devNull struct{}

func (devNull) Write(b []byte) (int, error) { return len(b), nil }
