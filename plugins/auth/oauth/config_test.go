package oauth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// fields lists those that an error of New complains about.
func fields(err error) []string {
	var out []string
	var walk func(error)
	walk = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
			return
		}
		if ce, ok := errors.AsType[*auth.ConfigError](err); ok {
			out = append(out, ce.Field)
		}
	}
	walk(err)
	slices.Sort(out)
	return out
}

func TestEveryFaultOfAConfigIsReportedAtOnceByItsField(t *testing.T) {
	t.Parallel()
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	secret := auth.NewSecret(fakeSecret)
	for _, tt := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"the zero Config", Config{}, nil},
		{"a grant that does not exist", Config{Grant: "password"}, []string{"Grant"}},
		{"http beyond loopback", Config{Issuer: "http://as.example"}, []string{"Issuer"}},
		{"http on loopback", Config{Issuer: "http://127.0.0.1:1/x"}, nil},
		{"not a URL", Config{Issuer: "as.example", TokenEndpoint: "://" + fakeSecret}, []string{"Issuer", "TokenEndpoint", "TokenEndpoint"}},
		{"a login with a token endpoint", Config{TokenEndpoint: asIssuer}, []string{"TokenEndpoint"}},
		{"a secret for anybody", Config{Grant: ClientCredentials, Client: Client{ID: "x", Secret: secret}}, []string{"Issuer"}},
		{"a workload's assertion for anybody", Config{Grant: JWTBearer, Client: Client{ID: "x"}}, []string{"Issuer"}},
		{"a subject token for anybody", Config{Grant: TokenExchange, Client: Client{ID: "x"}}, []string{"Issuer"}},
		{"anybody, on purpose", Config{Grant: ClientCredentials, Client: Client{ID: "x", Secret: secret}, AnyIssuer: true}, nil},
		{"anybody and somebody", Config{Issuer: asIssuer, AnyIssuer: true}, []string{"AnyIssuer"}},
		{"an assertion is for its server only", Config{Grant: ClientCredentials, Client: Client{ID: "x", PrivateKey: ed}}, nil},
		{"a secret without ID", Config{Issuer: asIssuer, Client: Client{Secret: secret}}, []string{"Client.ID"}},
		{"a key without ID", Config{Issuer: asIssuer, Client: Client{PrivateKey: ed}}, []string{"Client.ID"}},
		{"both", Config{Issuer: asIssuer, Client: Client{ID: "x", Secret: secret, PrivateKey: ed}}, []string{"Client.Secret"}},
		{"a weak key", Config{Client: Client{ID: "x", PrivateKey: weak}}, []string{"Client.PrivateKey"}},
		{"methods without means", Config{Client: Client{ID: "x", AuthMethod: methodPost}}, []string{"Client.Secret"}},
		{"methods without keys", Config{Client: Client{ID: "x", AuthMethod: methodPrivateKey}}, []string{"Client.PrivateKey"}},
		{"methods unheard of", Config{Client: Client{ID: "x", AuthMethod: "tls_client_auth"}}, []string{"Client.AuthMethod"}},
		{"a document at no path", Config{Client: Client{MetadataURL: "https://app.example/"}}, []string{"Client.MetadataURL"}},
		{"no identity provider", Config{Grant: IdentityAssertion, Issuer: asIssuer}, []string{"IDP.Client.ID", "IDP.Issuer"}},
		{"scopes with spaces", Config{Scopes: []string{"a b", "ok"}, ScopeLimit: []string{`"`}}, []string{"ScopeLimit[0]", "Scopes[0]"}},
		{"parameters of ours", Config{AuthorizationParams: url.Values{"state": {"x"}}}, []string{"AuthorizationParams"}},
		{"a DPoP key without DPoP", Config{DPoPKey: ed}, []string{"DPoPKey"}},
		{"a weak DPoP key", Config{DPoP: true, DPoPKey: weak}, []string{"DPoPKey"}},
		{"time backwards", Config{Timeout: -time.Second}, []string{"Timeout"}},
		{"a network that is none", Config{PrivateNetworks: []netip.Prefix{{}}}, []string{"PrivateNetworks[0]"}},
		{"much at once", Config{Grant: "x", Issuer: "x", Timeout: -1}, []string{"Grant", "Issuer", "Timeout"}},
	} {
		p, err := New(tt.cfg)
		if diff := cmp.Diff(dedupe(tt.want), dedupe(fields(err))); diff != "" {
			t.Errorf("%s: fields (-want +got):\n%s", tt.name, diff)
		}
		if (err == nil) != (p != nil) {
			t.Errorf("%s: provider %v, error %v", tt.name, p, err)
		}
		if err != nil {
			mustNotLeak(t, tt.name, err)
			continue
		}
		p.Close(t.Context())
	}
}

func dedupe(s []string) []string { return slices.Compact(s) }

func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	as := newFakeAS()
	cfg := as.machine()
	cfg.DPoP, cfg.DPoPKey, cfg.Store = true, ed, NewMemoryStore()
	cfg.IDP.Client = Client{ID: "x", PrivateKey: ed}
	cfg.AuthorizationParams = url.Values{"x": {fakeSecret}}
	cfg.Issuer = "https://user:" + fakeSecret + "@as.example?x=" + fakeSecret
	mustNotLeak(t, "Config", cfg)
	mustNotLeak(t, "*Config", &cfg)
	mustNotLeak(t, "Client", cfg.Client)
	cfg.Issuer = asIssuer
	p := newTest(t, cfg)
	seed(t, cfg.Store, Key{Issuer: asIssuer}, record{Access: "access-token-1", Refresh: "refresh-token-1"})
	mustNotLeak(t, "Provider", p)
	mustNotLeak(t, "MemoryStore", cfg.Store)
	rec := record{Access: "access-token-1", Refresh: "refresh-token-1"}
	mustNotPrint(t, "record", rec)
	mustNotPrint(t, "registration", registration{ID: "x", Secret: fakeSecret})
	entry, err := rec.entry()
	if err != nil {
		t.Fatal(err)
	}
	mustNotLeak(t, "Entry", entry)
}

// mustNotPrint is mustNotLeak for what is meant to be marshalled.
func mustNotPrint(t *testing.T, what string, v fmt.Formatter) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if text := fmt.Sprintf(verb, v); strings.Contains(text, fakeSecret) || strings.Contains(text, "-token-1") {
			t.Errorf("%s with %s: %s", what, verb, text)
		}
	}
}
