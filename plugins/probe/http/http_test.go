package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

type target struct{ about probe.Description }

func (t target) Describe() probe.Description { return t.about }

func (t target) Call(context.Context, string, json.RawMessage) (json.RawMessage, error) {
	return nil, probe.ErrNotListed
}

func check(t *testing.T, cfg Config, about probe.Description) (probe.Verdict, error) {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute // however slow the machine is
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p.Probe(t.Context(), target{about})
}

func TestStatusAndBodyDecide(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "k" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		status := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("status"), &status)
		w.Header().Set("Location", "/?status=200")
		w.WriteHeader(status)
		fmt.Fprint(w, "state: fine")
	}))
	t.Cleanup(s.Close)
	for _, c := range []struct {
		status   int
		statuses []int
		body     string
		want     probe.Status
	}{
		{200, nil, "", probe.Healthy},
		{299, nil, "", probe.Healthy},
		{302, nil, "", probe.Unhealthy},
		{503, nil, "", probe.Unhealthy},
		{503, []int{200, 503}, "", probe.Healthy},
		{201, []int{200}, "", probe.Unhealthy},
		{200, nil, `^state: fine$`, probe.Healthy},
		{200, nil, `broken`, probe.Unhealthy},
	} {
		v, err := check(t, Config{
			URL: s.URL + "/?status=${code}", Statuses: c.statuses, Body: c.body, Headers: map[string]auth.Secret{"X-Key": auth.NewSecret("k")},
		}, probe.Description{Attrs: map[string]string{"code": fmt.Sprint(c.status)}})
		if err != nil || v.Status != c.want {
			t.Errorf("%+v: %v, %v", c, v, err)
		}
	}
}

func TestNoAnswerIsNotTheResourcesFault(t *testing.T) {
	t.Parallel()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hanging.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, url := range []string{hanging.URL, closed.URL} {
		for _, want := range []probe.Status{probe.Unknown, probe.Unhealthy} {
			v, err := check(t, Config{URL: url, Timeout: 50 * time.Millisecond, Unreachable: want}, probe.Description{})
			if err != nil || v.Status != want {
				t.Errorf("%v, %v", v, err)
			}
		}
	}
	p, err := New(Config{URL: hanging.URL, Unreachable: probe.Unhealthy})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := p.Probe(ctx, target{}); !errors.Is(err, context.Canceled) || v.Status != probe.Unknown {
		t.Errorf("cut short: %v, %v", v, err)
	}
}

func TestACertificateThatExpiresSoonDegrades(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	left := time.Until(s.Certificate().NotAfter)
	for _, c := range []struct {
		warning time.Duration
		roots   *x509.CertPool
		want    probe.Status
	}{
		{left - time.Hour, roots, probe.Healthy},
		{left + time.Hour, roots, probe.Degraded},
		{-1, roots, probe.Healthy},
		{0, x509.NewCertPool(), probe.Unhealthy},
	} {
		v, err := check(t, Config{URL: s.URL, CertWarning: c.warning, TLS: &tls.Config{RootCAs: c.roots}}, probe.Description{})
		if err != nil || v.Status != c.want {
			t.Errorf("warning %v: %v, %v", c.warning, v, err)
		}
	}
}

func TestEachProbeHasAConnectionOfItsOwnAndReadsNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			fmt.Fprint(w, strings.Repeat("x", maxBody-1)+"ab")
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	for body, want := range map[string]probe.Status{"ab": probe.Unhealthy, "xa": probe.Healthy} { // the b is beyond the limit
		if v, err := check(t, Config{URL: s.URL + "/large", Body: body}, probe.Description{}); err != nil || v.Status != want {
			t.Errorf("%s: %v, %v", body, v, err)
		}
	}
	p, err := New(Config{URL: s.URL, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if v, err := p.Probe(t.Context(), target{}); err != nil || v.Status != probe.Healthy {
			t.Errorf("%v, %v", v, err)
		}
	}
	if n := opened.Load(); n != 5 {
		t.Errorf("%d connections for 5 probes", n)
	}
}

func TestASlowAnswerDegrades(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	if v, err := check(t, Config{URL: s.URL, Latency: 1}, probe.Description{}); err != nil || v.Status != probe.Degraded { // no network takes a nanosecond
		t.Errorf("%v, %v", v, err)
	}
}

func TestValuesOfATargetAreEscaped(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.RequestURI }))
	t.Cleanup(s.Close)
	about := probe.Description{ID: "7", Pool: "a b/c?d&e", Attrs: map[string]string{"x": "#+"}}
	if _, err := check(t, Config{URL: s.URL + "/${pool}/${id}?x=${x}&y=${none}"}, about); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "/a%20b%2Fc%3Fd%26e/7?x=%23%2B&y=" {
		t.Errorf("asked %s", got)
	}
}

func TestEveryFaultOfAConfigIsNamed(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	_, err := New(Config{
		URL: "ftp://user:" + secret + "@x", Headers: map[string]auth.Secret{"bad name": auth.NewSecret(secret)}, Timeout: -1, Statuses: []int{7},
		Body: "(", Latency: -1, CertWarning: -2, Unreachable: 9,
	})
	for _, field := range []string{"URL", "Headers", "Timeout", "Statuses", "Body", "Latency", "CertWarning", "Unreachable"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("a secret is shown: %v", err)
	}
	for url, want := range map[string]string{
		"http://${pool}/x": "before its path", "http://x:${id}/": "does not parse", "http://x${id}?": "before its path", "http://x${id}": "before its path",
		"http://x${a/b}": "before its path", "http://x${a?b}/": "before its path", "http://x${a#b}/": "before its path",
		"http://user@x/": "has a user", "%": "does not parse", "/x": "is not an absolute",
	} {
		if _, err := New(Config{URL: url}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want that it %s", url, err, want)
		}
	}
	for _, url := range []string{"http://x/${a/b}", "http://x?${id}", "http://x#${id}"} {
		if _, err := New(Config{URL: url}); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := New(Config{URL: "http://x/", Statuses: []int{200, 600}}); err == nil || !strings.Contains(err.Error(), "600") {
		t.Errorf("a status that is none: %v", err)
	}
	for _, url := range []string{"", "http://${pool}/x", "http://user@x/", "http:///x", "http://x:${id}/"} {
		if _, err := New(Config{URL: url}); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}

func TestAConfigIsCopiedAndItsDefaultsAreFilledIn(t *testing.T) {
	t.Parallel()
	cfg := Config{
		URL: "http://x/${id}", Headers: map[string]auth.Secret{"X-Key": auth.NewSecret("k")}, Statuses: []int{200},
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Headers["X-Key"], cfg.Statuses[0] = auth.NewSecret("other"), 500
	if p.cfg.Headers["X-Key"].Reveal() != "k" || p.cfg.Statuses[0] != 200 {
		t.Errorf("the prober has %v, %v", p.cfg.Headers, p.cfg.Statuses)
	}
	if p.cfg.Timeout != 3*time.Second || p.cfg.CertWarning != 7*24*time.Hour || p.cfg.Unreachable != probe.Unknown {
		t.Errorf("the defaults are %v, %v, %v", p.cfg.Timeout, p.cfg.CertWarning, p.cfg.Unreachable)
	}
}
