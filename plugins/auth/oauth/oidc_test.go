package oauth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// The certified authorization server is npm's oidc-provider, at the version that
// .ci/node pins.

type oidcServer struct {
	issuer string
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr bytes.Buffer
	key    *ecdsa.PrivateKey // of the client "cc-jwt"
}

const (
	oidcSecret   = "s3cr3t-of-the-client: +&=%~"
	oidcRSSecret = "secret-of-the-resource-server-0123456789"

	// oidcDocument is the ID of a client that the server knows by its document alone.
	oidcDocument = "https://app.example/client.json"
)

// sharedOIDC is started by the first test that needs it and ended by TestMain.
var sharedOIDC struct {
	once   sync.Once
	server *oidcServer
	skip   string
	err    error
}

// oidc returns the server's issuer, or skips the test.
func oidc(t *testing.T) *oidcServer {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the tests against oidc-provider start Node")
	}
	s := &sharedOIDC
	s.once.Do(func() { s.server, s.skip, s.err = startOIDC() })
	switch {
	case s.err != nil:
		t.Fatal(s.err)
	case s.skip != "" && os.Getenv("MCPOOL_REQUIRE_NODE") != "":
		t.Fatal("MCPOOL_REQUIRE_NODE is set, and there is " + s.skip)
	case s.skip != "":
		t.Skip(s.skip)
	}
	return s.server
}

func startOIDC() (server *oidcServer, skip string, err error) {
	modules, skip := oidcModules()
	if skip != "" {
		return nil, skip, nil
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, "no Node.js, so nothing was tested against oidc-provider: install it", nil //nolint:nilerr // no Node is no failure
	}
	s := &oidcServer{}
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, "", err
	}
	clients, err := oidcClients(s.key)
	if err != nil {
		return nil, "", err
	}
	s.cmd = exec.Command(node, filepath.Join("testdata", "oidc", "server.mjs"),
		filepath.Join(modules, "oidc-provider", "lib", "index.js"), clients)
	s.cmd.Stderr = &s.stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, "", err
	}
	var ready struct {
		Issuer string `json:"issuer"`
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		s.stop()
		return nil, "", fmt.Errorf("oidc-provider did not start: %w\n%s", err, &s.stderr)
	}
	s.issuer = ready.Issuer
	return s, "", nil
}

func (s *oidcServer) stop() {
	if s == nil {
		return
	}
	s.stdin.Close()
	s.cmd.Wait()
}

// oidcModules returns the folder into which .ci/node/install puts what is pinned there,
// or why there is none.
func oidcModules() (dir, skip string) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err.Error()
	}
	for {
		modules := filepath.Join(dir, "bin", "node", "node_modules")
		if _, err := os.Stat(filepath.Join(modules, "oidc-provider")); err == nil {
			return modules, ""
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", "no oidc-provider, so nothing was tested against it: run .ci/node/install"
		}
		dir = parent
	}
}

func oidcClients(key *ecdsa.PrivateKey) (string, error) {
	jwk, err := publicJWK(key.Public())
	if err != nil {
		return "", err
	}
	jwk["kid"], jwk["use"], jwk["alg"] = "key-1", "sig", "ES256"
	machine := func(id, method string, more map[string]any) map[string]any {
		c := map[string]any{
			"client_id": id, "token_endpoint_auth_method": method, "client_secret": oidcSecret,
			"grant_types": []string{"client_credentials"}, "redirect_uris": []string{}, "response_types": []string{},
		}
		maps.Copy(c, more)
		return c
	}
	app := func(id string) map[string]any {
		return map[string]any{
			"client_id": id, "token_endpoint_auth_method": "none", "application_type": "native",
			"grant_types":   []string{"authorization_code", "refresh_token", grantDevice},
			"redirect_uris": []string{"http://127.0.0.1/callback"}, "response_types": []string{"code"},
		}
	}
	data, err := json.Marshal(map[string]any{"documents": map[string]any{oidcDocument: app(oidcDocument)}, "clients": []any{
		machine("cc-basic", methodBasic, nil),
		machine("cc-post", methodPost, nil),
		machine("cc-jwt", methodPrivateKey, map[string]any{"jwks": map[string]any{"keys": []any{jwk}}}),
		machine("cc-nonce", methodBasic, nil),
		machine("exchanger", methodBasic, map[string]any{"grant_types": []string{oauthex.GrantTypeTokenExchange}}),
		map[string]any{
			"client_id": "resource-server", "client_secret": oidcRSSecret,
			"grant_types": []string{}, "redirect_uris": []string{}, "response_types": []string{},
		},
		app("app"), app("app-nonce"),
	}})
	return string(data), err
}

// introspect asks the server about a token, as a resource server does.
func (s *oidcServer) introspect(ctx context.Context, access string) (map[string]any, error) {
	return s.post(ctx, "/token/introspection", url.Values{
		"token": {access}, "client_id": {"resource-server"}, "client_secret": {oidcRSSecret},
	})
}

func (s *oidcServer) revoke(ctx context.Context, clientID, token string) error {
	_, err := s.post(ctx, "/token/revocation", url.Values{"token": {token}, "client_id": {clientID}})
	return err
}

func (s *oidcServer) post(ctx context.Context, path string, form url.Values) (map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id := form.Get("client_id"); id == "resource-server" {
		form.Del("client_id")
		req.SetBasicAuth(id, form.Get("client_secret"))
		form.Del("client_secret")
		req.Body = io.NopCloser(strings.NewReader(form.Encode()))
		req.ContentLength = int64(len(form.Encode()))
	}
	resp, err := testClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, resp.Status, data)
	}
	var out map[string]any
	if len(data) > 0 {
		err = json.Unmarshal(data, &out)
	}
	return out, err
}

// testClient is what tests themselves call servers with.
var testClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

var errNotActive = errors.New("the token is not active")
