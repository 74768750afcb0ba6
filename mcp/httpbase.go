package mcpool

import (
	"net"
	"net/http"
	"time"
)

// newBase returns the connections that all identities share, and the transport
// that is the pool's own and has to be closed, if it is.
func newBase(cfg *Config) (http.RoundTripper, *http.Transport) {
	if c := cfg.HTTP.Client; c != nil {
		if c.Transport != nil {
			return c.Transport, nil
		}
		return http.DefaultTransport, nil
	}
	dialer := &net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 15 * time.Second}
	// Every call in flight has a connection of its own over HTTP/1. What is not
	// kept idle is dialled anew for the next call, so as many are kept as there may
	// be calls, within reason.
	perSession := cfg.CallsPerSession
	if perSession == 0 {
		perSession = 8
	}
	idle := min(max(cfg.Max*perSession, 64), 1024)
	t := &http.Transport{
		Proxy:                 cfg.HTTP.Proxy,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   cfg.ConnectTimeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   idle,
		IdleConnTimeout:       90 * time.Second,
	}
	if cfg.HTTP.TLS != nil {
		t.TLSClientConfig = cfg.HTTP.TLS.Clone()
	}
	return t, t
}
