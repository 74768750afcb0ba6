package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

var _ probe.Prober = (*Prober)(nil)

// Config says what is asked and expected. Only URL is required. The zero value of
// each other field means the default its comment gives.
type Config struct {
	// URL is asked with GET. Required.
	URL string `json:"url"`
	// Headers go with the request.
	Headers map[string]auth.Secret `json:"headers,omitempty"`
	// Timeout bounds the request. Default: 3 s.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Statuses are those of health. Default: every 2xx.
	Statuses []int `json:"statuses,omitempty"`
	// Body is a regular expression (RE2) that the first 64 KiB of the body must
	// match. Default: any body will do.
	Body string `json:"body,omitempty"`
	// Latency is how long the answer may take before the verdict is degraded.
	// Default: no bound but Timeout.
	Latency time.Duration `json:"latency,omitempty"`
	// CertWarning is how long before its certificate expires the verdict is
	// degraded. Default: 7 days. -1: never.
	CertWarning time.Duration `json:"cert_warning,omitempty"`
	// Unreachable is the verdict where there is no answer. Default: unknown.
	Unreachable probe.Status `json:"unreachable,omitempty"`
	// TLS configures the connection; it is cloned. Default: the system's.
	TLS *tls.Config `json:"-"`
}

// Prober asks a health URL. It may be used from any number of goroutines.
type Prober struct {
	// Immutable after creation.
	cfg    Config
	body   *regexp.Regexp
	client *http.Client
}

const maxBody = 64 << 10

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// New returns a Prober, or all faults of cfg as *probe.ConfigError.
func New(cfg Config) (*Prober, error) {
	var errs []error
	bad := func(field string, err error, format string, args ...any) {
		errs = append(errs, &probe.ConfigError{Field: field, Problem: fmt.Sprintf(format, args...), Err: err})
	}
	switch u, err := url.Parse(placeholder.ReplaceAllString(cfg.URL, "x")); {
	case err != nil:
		bad("URL", nil, "does not parse") // the error would quote it
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		bad("URL", nil, "is not an absolute http or https URL")
	case beforePath(cfg.URL):
		bad("URL", nil, "has a value before its path: what a target says must not choose whom to ask")
	case u.User != nil:
		bad("URL", nil, "has a user in it: give credentials with Headers")
	}
	header := make(http.Header)
	for name, v := range cfg.Headers {
		header.Set(name, v.Reveal())
	}
	if err := auth.CheckHeader(header); err != nil {
		bad("Headers", nil, "cannot be sent: %v", err)
	}
	for _, s := range cfg.Statuses {
		if s < 100 || s > 599 {
			bad("Statuses", nil, "has %d, which is no status", s)
		}
	}
	body, err := regexp.Compile(cfg.Body)
	if err != nil {
		bad("Body", err, "is no regular expression")
	}
	switch {
	case cfg.Timeout == 0:
		cfg.Timeout = 3 * time.Second
	case cfg.Timeout < 0:
		bad("Timeout", nil, "is negative: use 0 for the default")
	}
	if cfg.Latency < 0 {
		bad("Latency", nil, "is negative: use 0 for no bound")
	}
	switch {
	case cfg.CertWarning == 0:
		cfg.CertWarning = 7 * 24 * time.Hour
	case cfg.CertWarning < -1:
		bad("CertWarning", nil, "is negative: use 0 for the default or -1 for never")
	}
	if cfg.Unreachable > probe.Unhealthy {
		bad("Unreachable", nil, "is no verdict")
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	cfg.Headers, cfg.Statuses = maps.Clone(cfg.Headers), slices.Clone(cfg.Statuses)
	return &Prober{cfg: cfg, body: body, client: &http.Client{
		// A connection for each probe: one that is kept would say little of how the
		// server is, and nothing of its certificate.
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg.TLS.Clone(), DisableKeepAlives: true, ForceAttemptHTTP2: true,
		},
		// Credentials are for the configured origin alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Probe asks once.
func (p *Prober) Probe(ctx context.Context, target probe.Target) (probe.Verdict, error) {
	within, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(within, http.MethodGet, p.address(target.Describe()), nil)
	if err != nil {
		return probe.Verdict{Reason: "the URL of this target cannot be asked"}, errURL
	}
	for name, v := range p.cfg.Headers {
		req.Header.Set(name, v.Reveal())
	}
	began := time.Now()
	resp, err := p.client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		var body []byte
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err == nil {
			return p.judge(resp, body, time.Since(began)), nil
		}
	}
	if ctx.Err() != nil {
		return probe.Verdict{Reason: "the probe was cut short"}, context.Cause(ctx) //nolint:wrapcheck // the caller's own
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return probe.Verdict{Status: probe.Unhealthy, Reason: "the server's certificate is not valid"}, nil
	}
	return probe.Verdict{Status: p.cfg.Unreachable, Reason: "the health URL does not answer"}, nil
}

var errURL = errors.New("http: the URL with this target's values is no URL")

// address fills in what the target says of itself.
func (p *Prober) address(about probe.Description) string {
	return placeholder.ReplaceAllStringFunc(p.cfg.URL, func(m string) string {
		name := m[2 : len(m)-1]
		value := about.Attrs[name]
		switch name {
		case "id":
			value = about.ID
		case "pool":
			value = about.Pool
		}
		return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") // good for a path too
	})
}

// beforePath tells whether a URL with a host has a placeholder before its path. It
// looks at what comes before the first: a name may have slashes of its own in it.
func beforePath(raw string) bool {
	first := placeholder.FindStringIndex(raw)
	if first == nil {
		return false
	}
	_, rest, _ := strings.Cut(raw[:first[0]], "://")
	return !strings.ContainsAny(rest, "/?#")
}

// judge draws the conclusion of an answer.
func (p *Prober) judge(resp *http.Response, body []byte, took time.Duration) probe.Verdict {
	good := resp.StatusCode/100 == 2
	if len(p.cfg.Statuses) > 0 {
		good = slices.Contains(p.cfg.Statuses, resp.StatusCode)
	}
	switch {
	case !good:
		return probe.Verdict{Status: probe.Unhealthy, Reason: fmt.Sprintf("the health URL answered %d", resp.StatusCode)}
	case !p.body.Match(body):
		return probe.Verdict{Status: probe.Unhealthy, Reason: "the body of the health URL is not as expected"}
	case p.cfg.Latency > 0 && took > p.cfg.Latency:
		return probe.Verdict{Status: probe.Degraded, Reason: fmt.Sprintf("the health URL took %v, more than %v", took.Round(time.Microsecond), p.cfg.Latency)}
	}
	if resp.TLS != nil && p.cfg.CertWarning >= 0 {
		for _, cert := range resp.TLS.PeerCertificates {
			if left := time.Until(cert.NotAfter); left < p.cfg.CertWarning {
				return probe.Verdict{Status: probe.Degraded, Reason: fmt.Sprintf("a certificate expires in %v", left.Round(time.Minute))}
			}
		}
	}
	return probe.Verdict{Status: probe.Healthy}
}
