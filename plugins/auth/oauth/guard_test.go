package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestOnlyPublicAddressesAndAllowedNetworksArePublic(t *testing.T) {
	t.Parallel()
	g := &guard{networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for _, tt := range []struct {
		address string
		public  bool
	}{
		{"93.184.215.14", true},
		{"2606:2800:21f:cb07:6820:80da:af6b:8b2c", true},
		{"10.1.2.3", true},
		{"10.2.2.3", false},
		{"127.0.0.1", false},
		{"::1", false},
		{"0.0.0.0", false},
		{"::", false},
		{"169.254.169.254", false},
		{"192.168.1.1", false},
		{"172.16.0.1", false},
		{"100.64.0.1", false},
		{"224.0.0.1", false},
		{"255.255.255.255", false},
		{"198.18.0.1", false},
		{"fe80::1", false},
		{"fd00::1", false},
		{"64:ff9b::a9fe:a9fe", false},
		{"2002:7f00:1::", false},
		{"::7f00:1", false},
	} {
		if got := g.isPublic(netip.MustParseAddr(tt.address).Unmap()); got != tt.public {
			t.Errorf("%s: public %v, want %v", tt.address, got, tt.public)
		}
	}
}

// fakeDNS answers every question for an address with the same one.
func fakeDNS(t *testing.T, answer netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			conn.WriteTo(dnsAnswer(buf[:n], answer), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func dnsAnswer(query []byte, ip netip.Addr) []byte {
	end := 12 // of the question
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5
	kind := binary.BigEndian.Uint16(query[end-4:])
	out := append([]byte{}, query[:end]...)
	out[2], out[3] = 0x81, 0x80 // an answer, recursive, no error
	copy(out[4:12], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	if kind == 1 && ip.Is4() {
		out[7] = 1
		a := ip.As4()
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		out = append(out, a[:]...)
	}
	return out
}

func TestNamesThatResolveToPrivateAddressesAreNotDialled(t *testing.T) {
	t.Parallel()
	var hits int
	inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer inside.Close()
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	get := func(resolver *net.Resolver, networks []netip.Prefix, r reach) error {
		g := newGuard(&tls.Config{InsecureSkipVerify: true}, nil, networks, resolver)
		defer g.closeIdle()
		ctx := withReach(t.Context(), r)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://rebound.test:"+port+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.discoveryClient().Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	loopback := fakeDNS(t, netip.MustParseAddr("127.0.0.1"))
	for name, resolver := range map[string]*net.Resolver{"loopback": loopback, "link-local": fakeDNS(t, netip.MustParseAddr("169.254.169.254"))} {
		err := get(resolver, nil, reach{loopback: true})
		if _, ok := errors.AsType[*AddressError](err); !ok {
			t.Errorf("%s: got %v, want an AddressError", name, err)
		}
	}
	if hits > 0 {
		t.Fatalf("the server inside had %d visits", hits)
	}
	if err := get(loopback, nil, reachOf("https://rebound.test")); err != nil {
		t.Errorf("a configured host: %v", err)
	}
	if err := get(loopback, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, reach{}); err != nil {
		t.Errorf("an allowed network: %v", err)
	}
}

func TestRedirectsLeadNowherePrivate(t *testing.T) {
	t.Parallel()
	var hits int
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer inside.Close()
	var to string
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			io.WriteString(w, "{}")
			return
		}
		http.Redirect(w, r, to, http.StatusFound)
	}))
	defer outside.Close()
	g := newGuard(nil, nil, nil, nil)
	defer g.closeIdle()
	for _, to = range []string{
		inside.URL, "http://10.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/latest", "https://[fd00::1]/",
		"http://example.com/", "ftp://example.com/", "https://localhost:1/", outside.URL, // the last one for ever
	} {
		req, err := http.NewRequestWithContext(withReach(t.Context(), reachOf(outside.URL)), http.MethodGet, outside.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.discoveryClient().Do(req)
		if err == nil {
			resp.Body.Close()
			t.Errorf("a redirect to %s was followed", to)
		}
	}
	if hits > 0 {
		t.Errorf("the server inside had %d visits", hits)
	}
	to = outside.URL + "/moved"
	req, _ := http.NewRequestWithContext(withReach(t.Context(), reachOf(outside.URL)), http.MethodGet, outside.URL, nil)
	resp, err := g.discoveryClient().Do(req)
	if err != nil {
		t.Fatalf("a redirect that stays: %v", err)
	}
	resp.Body.Close()
}

func TestATokenEndpointThatRedirectsIsNotFollowedWithTheSecret(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	stolen := false
	as.handlers["evil.example/token"] = func(http.ResponseWriter, *http.Request) { stolen = true }
	as.token = func(w http.ResponseWriter, r *http.Request, _ url.Values) {
		http.Redirect(w, r, "https://evil.example/token", http.StatusTemporaryRedirect)
	}
	p := newTest(t, as.machine())
	if _, err := p.Credentials(t.Context(), requestFor("", fakeResource)); err == nil || stolen {
		t.Errorf("error %v, stolen %v", err, stolen)
	}
}

func TestAPublicTargetCannotNameAServerOnLoopback(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	hit := false
	as.handlers["127.0.0.1:6379/.well-known/oauth-authorization-server"] = func(http.ResponseWriter, *http.Request) { hit = true }
	as.handlers["mcp.example/.well-known/oauth-protected-resource/mcp"] = document(map[string]any{
		"resource": fakeResource, "authorization_servers": []string{"http://127.0.0.1:6379", "https://localhost:6379"},
	})
	p := newTest(t, discovering(as))
	req := requestFor("", fakeResource)
	outcome, err := challenged(t, p, req, "Bearer")
	if err == nil {
		_, err = p.Credentials(t.Context(), req)
	}
	if err == nil || hit {
		t.Errorf("got %v, %v; loopback was reached: %v", outcome, err, hit)
	}
}

func TestPrivateCertificatesAreAcceptedWhereConfigured(t *testing.T) {
	t.Parallel()
	var issuer string
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"issuer": issuer, "token_endpoint": issuer + "/token"})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"access_token": "access-token-1", "token_type": "bearer"})
	})
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	issuer = server.URL
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	cfg := Config{Grant: ClientCredentials, Issuer: issuer, Client: Client{ID: "machine", Secret: auth.NewSecret(fakeSecret)}}
	p := newTest(t, cfg)
	if _, err := p.Credentials(t.Context(), requestFor("", fakeResource)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	cfg.TLS = &tls.Config{RootCAs: pool}
	credentials(t, newTest(t, cfg), requestFor("", fakeResource))
}

func TestAServerThatIsGoneIsNamedAndSecretsAreNot(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p := newTest(t, Config{
		Grant: ClientCredentials, TokenEndpoint: "http://" + l.Addr().String() + "/token", Timeout: 5 * time.Second,
		Client: Client{ID: "machine", Secret: auth.NewSecret(fakeSecret)},
	})
	_, err = p.Credentials(t.Context(), requestFor("", fakeResource))
	if err == nil || !strings.Contains(err.Error(), "could not be reached") || !strings.Contains(err.Error(), l.Addr().String()+"/token") {
		t.Errorf("got %v", err)
	}
	mustNotLeak(t, "the error", err)
}
