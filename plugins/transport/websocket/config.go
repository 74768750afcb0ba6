package websocket

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// Config says how WebSockets are opened. The zero value of each field means the
// default its comment gives; -1 turns a time off.
type Config struct {
	// URL is the endpoint, ws or wss. Default: the one of each Dial's Target, which
	// is refused if it is another one than this.
	URL string `json:"url,omitempty"`
	// Headers go with each handshake.
	Headers map[string]auth.Secret `json:"headers,omitempty"`
	// Subprotocol is asked for, and the server has to agree to it. Default: "mcp".
	// "-": none.
	Subprotocol string `json:"subprotocol,omitempty"`
	// Proxy is the URL of an HTTP, HTTPS or SOCKS5 proxy. Default: what the
	// environment says (HTTPS_PROXY, HTTP_PROXY, NO_PROXY). "-": none.
	Proxy string `json:"proxy,omitempty"`
	// TLS is for wss.
	TLS TLS `json:"tls,omitzero"`

	// DialTimeout bounds the handshake. Default: 10 s.
	DialTimeout time.Duration `json:"dial_timeout,omitempty"`
	// PingInterval is how often the peer is pinged. Default: 30 s.
	PingInterval time.Duration `json:"ping_interval,omitempty"`
	// PingTimeout is how long the peer may be silent after a ping. Default: 10 s.
	PingTimeout time.Duration `json:"ping_timeout,omitempty"`
	// SendTimeout is how long one message may be stuck because the peer does not
	// read. Default: 1 min.
	SendTimeout time.Duration `json:"send_timeout,omitempty"`
	// CloseTimeout is how long the peer may take to agree to a close. Default: 1 s.
	CloseTimeout time.Duration `json:"close_timeout,omitempty"`

	// Auth has credentials for the handshake. The Dialer does not close it; put an
	// auth.Cache in front of one that fetches them. Default: none.
	Auth auth.Provider `json:"-"`
}

// TLS says whom to trust and as whom to come.
type TLS struct {
	// CAFile holds the certificates, in PEM, that sign the server's. Default: the
	// system's.
	CAFile string `json:"ca_file,omitempty"`
	// CertFile is the client's certificate, in PEM. Default: none.
	CertFile string `json:"cert_file,omitempty"`
	// KeyFile is the key of CertFile, in PEM.
	KeyFile string `json:"key_file,omitempty"`
	// ServerName is what the server's certificate has to be for. Default: the host
	// of the URL.
	ServerName string `json:"server_name,omitempty"`
	// Config is used instead of all that; it is cloned.
	Config *tls.Config `json:"-"`
}

const never = time.Duration(1<<63 - 1)

// check fills in defaults and returns all faults, and what was read of files.
func (c *Config) check() (*tls.Config, func(*http.Request) (*url.URL, error), error) {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &transport.ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if c.URL != "" {
		if _, err := parseURL(c.URL); err != nil {
			bad("URL", "%v", err)
		}
	}
	header := make(http.Header)
	for name, value := range c.Headers {
		header.Set(name, value.Reveal())
	}
	if err := auth.CheckHeader(header); err != nil {
		bad("Headers", "cannot be sent: %v", err)
	}
	switch c.Subprotocol {
	case "":
		c.Subprotocol = "mcp"
	case "-":
		c.Subprotocol = ""
	}
	for _, f := range []struct {
		field  string
		v      *time.Duration
		zero   time.Duration
		may    bool
		advice string
	}{
		{"DialTimeout", &c.DialTimeout, 10 * time.Second, false, "a server that hangs would be waited for without end"},
		{"PingInterval", &c.PingInterval, 30 * time.Second, true, ""},
		{"PingTimeout", &c.PingTimeout, 10 * time.Second, false, "turn PingInterval off instead"},
		{"SendTimeout", &c.SendTimeout, time.Minute, true, ""},
		{"CloseTimeout", &c.CloseTimeout, time.Second, false, "a peer that hangs would be waited for without end"},
	} {
		switch {
		case *f.v == 0:
			*f.v = f.zero
		case *f.v == -1 && f.may:
			*f.v = never
		case *f.v == -1:
			bad(f.field, "cannot be off: %s", f.advice)
		case *f.v < 0:
			bad(f.field, "is negative: use 0 for the default")
		}
	}
	proxy := http.ProxyFromEnvironment
	switch {
	case c.Proxy == "-":
		proxy = nil
	case c.Proxy != "":
		u, err := url.Parse(c.Proxy)
		if err != nil || u.Host == "" {
			bad("Proxy", "is not the URL of a proxy") // the error would quote it
		} else if s := u.Scheme; s != "http" && s != "https" && s != "socks5" && s != "socks5h" {
			bad("Proxy", "has scheme %q: use http, https or socks5", s)
		}
		proxy = http.ProxyURL(u)
	}
	tlsConfig, tlsErrs := c.TLS.load()
	errs = append(errs, tlsErrs...)
	return tlsConfig, proxy, errors.Join(errs...)
}

// load makes a tls.Config.
func (t *TLS) load() (*tls.Config, []error) {
	var errs []error
	bad := func(field, problem string, err error) {
		errs = append(errs, &transport.ConfigError{Field: "TLS." + field, Problem: problem, Err: err})
	}
	if t.Config != nil {
		if t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "" {
			bad("Config", "is set, and other fields of TLS too: give one or the others", nil)
		}
		return t.Config.Clone(), errs
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		cfg.RootCAs = x509.NewCertPool()
		switch {
		case err != nil:
			bad("CAFile", "cannot be read", err)
		case !cfg.RootCAs.AppendCertsFromPEM(pem):
			bad("CAFile", "holds no certificate in PEM", nil)
		}
	}
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		bad("CertFile and KeyFile", "belong together: one is missing", nil)
	case t.CertFile != "":
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			bad("CertFile and KeyFile", "cannot be used", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, errs
}

// parseURL checks an endpoint and returns it with the scheme that HTTP knows.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("does not parse as a URL") // the error would quote it
	case u.Host == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("has a user in it: give credentials with Headers or Auth")
	case u.Scheme == "ws":
		u.Scheme = "http"
	case u.Scheme == "wss":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf("has scheme %q: use ws or wss", u.Scheme)
	}
	return u, nil
}
