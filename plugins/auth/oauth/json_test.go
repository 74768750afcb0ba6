package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
)

func TestAConfigIsReadFromJSON(t *testing.T) {
	t.Parallel()
	var got Config
	err := config.Decode([]byte(`{
		"grant": "identity_assertion", "issuer": "https://as.example", "token_endpoint": "https://as.example/t", "any_issuer": true,
		"client": {
			"id": "c", "secret": "`+fakeSecret+`", "private_key_pem": "pem", "key_id": "k", "auth_method": "none",
			"metadata_url": "https://app.example/c"
		},
		"registration": {"disabled": true, "name": "n", "uri": "https://app.example"},
		"scopes": ["a"], "scope_limit": ["a", "b"], "authorization_params": {"login_hint": ["x"]}, "assume_pkce": true,
		"exchange": {"subject_token_type": "s", "audience": "a"},
		"idp": {"issuer": "https://idp.example", "token_endpoint": "https://idp.example/t", "client": {"id": "i"}, "subject_token_type": "s"},
		"dpop": true, "audiences": ["x"], "token_file": "tokens.json", "timeout": "10s", "private_networks": ["10.0.0.0/8"]
	}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	mustNotLeak(t, "Config", got)
	want := Config{
		Grant: IdentityAssertion, Issuer: "https://as.example", TokenEndpoint: "https://as.example/t", AnyIssuer: true,
		Client: Client{
			ID: "c", Secret: auth.NewSecret(fakeSecret), PrivateKeyPEM: auth.NewSecret("pem"), KeyID: "k", AuthMethod: "none",
			MetadataURL: "https://app.example/c",
		},
		Registration: Registration{Disabled: true, Name: "n", URI: "https://app.example"},
		Scopes:       []string{"a"}, ScopeLimit: []string{"a", "b"}, AuthorizationParams: url.Values{"login_hint": {"x"}}, AssumePKCE: true,
		Exchange: Exchange{SubjectTokenType: "s", Audience: "a"},
		IDP:      IDP{Issuer: "https://idp.example", TokenEndpoint: "https://idp.example/t", Client: Client{ID: "i"}, SubjectTokenType: "s"},
		DPoP:     true, Audiences: []string{"x"}, TokenFile: "tokens.json", Timeout: 10 * time.Second,
		PrivateNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
	if !reflect.DeepEqual(got, want) { // of what prints nothing
		t.Errorf("got  %+v %+v\nwant %+v %+v", got, got.Client, want, want.Client)
	}
}

func pemOf(t *testing.T, kind string, der []byte, err error) auth.Secret {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return auth.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func TestAPrivateKeyInPEMSignsLikeTheKeyItself(t *testing.T) {
	t.Parallel()
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	encode := func(kind string, f func() ([]byte, error)) auth.Secret {
		der, err := f()
		return pemOf(t, kind, der, err)
	}
	for name, tt := range map[string]struct {
		key crypto.Signer
		pem auth.Secret
	}{
		"PKCS #8 EC":      {ec, encode("PRIVATE KEY", func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(ec) })},
		"PKCS #8 Ed25519": {ed, encode("PRIVATE KEY", func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(ed) })},
		"SEC 1":           {ec, encode("EC PRIVATE KEY", func() ([]byte, error) { return x509.MarshalECPrivateKey(ec) })},
		"PKCS #1":         {r, encode("RSA PRIVATE KEY", func() ([]byte, error) { return x509.MarshalPKCS1PrivateKey(r), nil })},
	} {
		as := newFakeAS()
		cfg := as.machine()
		cfg.Client = Client{ID: "machine", PrivateKeyPEM: tt.pem}
		p := newTest(t, cfg)
		credentials(t, p, requestFor("", fakeResource))
		if as.lastForm().Get("client_assertion_type") != assertionType {
			t.Errorf("%s: no assertion in %v", name, as.lastForm())
		}
		if pub, ok := p.cfg.Client.PrivateKey.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(tt.key.Public()) {
			t.Errorf("%s: another key", name)
		}
	}
}

func TestFaultsOfKeysAndFilesNameTheirField(t *testing.T) {
	t.Parallel()
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	dir := t.TempDir()
	open := filepath.Join(dir, "open.json")
	if err := os.WriteFile(open, []byte(`{}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"no PEM":       {Config{Client: Client{ID: "x", PrivateKeyPEM: auth.NewSecret(fakeSecret)}}, "Client.PrivateKeyPEM"},
		"a rest":       {Config{Client: Client{ID: "x", PrivateKeyPEM: auth.NewSecret(pemOf(t, "PRIVATE KEY", nil, nil).Reveal() + fakeSecret)}}, "Client.PrivateKeyPEM"},
		"no key":       {Config{Client: Client{ID: "x", PrivateKeyPEM: pemOf(t, "PRIVATE KEY", []byte(fakeSecret), nil)}}, "Client.PrivateKeyPEM"},
		"a public key": {Config{Client: Client{ID: "x", PrivateKeyPEM: pemOf(t, "PUBLIC KEY", []byte(fakeSecret), nil)}}, "Client.PrivateKeyPEM"},
		"two keys":     {Config{Client: Client{ID: "x", PrivateKey: ec, PrivateKeyPEM: auth.NewSecret("x")}}, "Client.PrivateKeyPEM"},
		"of the IDP":   {Config{IDP: IDP{Client: Client{ID: "x", PrivateKeyPEM: auth.NewSecret("x")}}}, "IDP.Client.PrivateKeyPEM"},
		"two stores":   {Config{Store: NewMemoryStore(), TokenFile: filepath.Join(dir, "x")}, "TokenFile"},
		"a bad file":   {Config{TokenFile: open}, "TokenFile"},
	} {
		_, err := New(tt.cfg)
		if got := fields(err); len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: %v, want a fault of %s", name, err, tt.want)
		}
		mustNotLeak(t, name, err)
	}
	path := filepath.Join(dir, "tokens.json")
	as := newFakeAS()
	cfg := as.machine()
	cfg.TokenFile = path
	req := requestFor("", fakeResource)
	first := credentials(t, newTest(t, cfg), req).Generation
	if again := credentials(t, newTest(t, cfg), req).Generation; again != first {
		t.Errorf("the file did not keep the token: %s, then %s", first, again)
	}
}
