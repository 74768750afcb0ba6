package websocket

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// fault returns the problem that New finds with a field, empty for none.
func fault(t *testing.T, cfg Config, field string) string {
	t.Helper()
	_, err := New(cfg)
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return ""
	}
	for _, e := range all.Unwrap() {
		var f *transport.ConfigError
		if errors.As(e, &f) && f.Field == field {
			return f.Error()
		}
	}
	return ""
}

func mustNew(t *testing.T, cfg Config) *Dialer {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheZeroValueOfEachFieldIsItsDefault(t *testing.T) {
	t.Parallel()
	got := mustNew(t, Config{}).cfg
	want := Config{
		Subprotocol: "mcp", DialTimeout: 10 * time.Second, PingInterval: 30 * time.Second, PingTimeout: 10 * time.Second,
		SendTimeout: time.Minute, CloseTimeout: time.Second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	off := mustNew(t, Config{PingInterval: -1, SendTimeout: -1, Subprotocol: "-"}).cfg
	if off.PingInterval != never || off.SendTimeout != never || off.Subprotocol != "" {
		t.Errorf("turned off: %+v", off)
	}
}

func TestAServerWithoutASubprotocolIsAskedForNone(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Sec-WebSocket-Protocol")
		if ws, err := websocket.Accept(w, r, nil); err == nil {
			_ = ws.CloseNow()
		}
	})
	mustDial(t, url, transport.Open{}, func(c *Config) { c.Subprotocol = "-" })
	if got := <-asked; got != "" {
		t.Errorf("asked for %q", got)
	}
}

func TestTheProxyIsTheOneThatIsConfigured(t *testing.T) {
	t.Parallel()
	if p := mustNew(t, Config{}).proxy; reflect.ValueOf(p).Pointer() != reflect.ValueOf(http.ProxyFromEnvironment).Pointer() {
		t.Error("by default it is not the one of the environment")
	}
	if mustNew(t, Config{Proxy: "-"}).proxy != nil {
		t.Error(`"-" leaves one`)
	}
	for _, url := range []string{"http://proxy.test:3128", "https://proxy.test", "socks5://proxy.test", "socks5h://proxy.test"} {
		if got, err := mustNew(t, Config{Proxy: url}).proxy(nil); err != nil || got.String() != url {
			t.Errorf("%s: %v, %v", url, got, err)
		}
	}
	for _, url := range []string{"http://user:hunter2@", "http://hunter2\x7f", "hunter2"} {
		if s := fault(t, Config{Proxy: url}, "Proxy"); s == "" || strings.Contains(s, "hunter2") {
			t.Errorf("%q: %q", url, s)
		}
	}
}

func TestAURLThatCannotBeUsedIsRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"wss://user:hunter2@a.test/": "has a user", "wss://hunter2\x7f": "does not parse", "wss:///hunter2": "has no host",
		"http://a.test/": "has scheme", "a.test": "has no host",
	} {
		if s := fault(t, Config{URL: url}, "URL"); !strings.Contains(s, want) || strings.Contains(s, "hunter2") {
			t.Errorf("%q: %q", url, s)
		}
		var refused *transport.ConfigError
		_, err := mustNew(t, Config{}).Dial(t.Context(), transport.Open{Target: transport.Target{URL: url}})
		if !errors.As(err, &refused) || refused.Field != "Target.URL" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q, in the target: %v", url, err)
		}
	}
	var missing *transport.ConfigError
	if _, err := mustNew(t, Config{}).Dial(t.Context(), transport.Open{}); !errors.As(err, &missing) || missing.Field != "URL" {
		t.Errorf("without any: %v", err)
	}
}

func TestHeadersThatCannotBeSentAreRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"Bad Name": "hunter2", "X-Value": "hunter2\n", "Host": "hunter2"} {
		s := fault(t, Config{Headers: map[string]auth.Secret{name: auth.NewSecret(value)}}, "Headers")
		if s == "" || strings.Contains(s, "hunter2") {
			t.Errorf("%s: %q", name, s)
		}
	}
}

// certificate makes one that signs itself, and writes it and its key.
func certificate(t *testing.T) (cert *x509.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return cert, writePEM(t, "CERTIFICATE", der), writePEM(t, "PRIVATE KEY", private)
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAClientCertificateIsShown(t *testing.T) {
	t.Parallel()
	client, certFile, keyFile := certificate(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(serveMCP))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	s.TLS.ClientCAs.AddCert(client)
	s.EnableHTTP2 = true // which a WebSocket may not be offered
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	ca := writePEM(t, "CERTIFICATE", s.Certificate().Raw)
	url := "wss" + strings.TrimPrefix(s.URL, "https")
	hello(t, mustDial(t, url, transport.Open{}, func(c *Config) { c.TLS = TLS{CAFile: ca, CertFile: certFile, KeyFile: keyFile} }))
	if _, err := dial(t, url, transport.Open{}, func(c *Config) { c.TLS = TLS{CAFile: ca} }); err == nil {
		t.Error("the server takes who shows none")
	}
}

func TestTLSThatCannotBeUsedIsNamed(t *testing.T) {
	t.Parallel()
	_, certFile, keyFile := certificate(t)
	none := filepath.Join(t.TempDir(), "none")
	for name, c := range map[string]struct {
		tls         TLS
		field, want string
	}{
		"no file of authorities": {TLS{CAFile: none}, "TLS.CAFile", "cannot be read"},
		"no authority in it":     {TLS{CAFile: keyFile}, "TLS.CAFile", "holds no certificate"},
		"no key":                 {TLS{CertFile: certFile}, "TLS.CertFile and KeyFile", "one is missing"},
		"no certificate":         {TLS{KeyFile: keyFile}, "TLS.CertFile and KeyFile", "one is missing"},
		"the wrong way round":    {TLS{CertFile: keyFile, KeyFile: certFile}, "TLS.CertFile and KeyFile", "cannot be used"},
		"both":                   {TLS{Config: &tls.Config{}, ServerName: "a.test"}, "TLS.Config", "other fields"},
	} {
		if s := fault(t, Config{TLS: c.tls}, c.field); !strings.Contains(s, c.want) {
			t.Errorf("%s: %q", name, s)
		}
	}
}

func TestAConfigIsNotTheCallersAnyMore(t *testing.T) {
	t.Parallel()
	cfg := Config{Headers: map[string]auth.Secret{"X-A": auth.NewSecret("a")}, TLS: TLS{Config: &tls.Config{ServerName: "a.test"}}}
	d := mustNew(t, cfg)
	cfg.Headers["X-A"], cfg.TLS.Config.ServerName = auth.NewSecret("b"), "b.test"
	if d.cfg.Headers["X-A"].Reveal() != "a" || d.tls.ServerName != "a.test" {
		t.Errorf("changed afterwards: %v, %q", d.cfg.Headers, d.tls.ServerName)
	}
}
