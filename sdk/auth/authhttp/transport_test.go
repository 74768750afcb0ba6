package authhttp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

const token = "tok-authhttp-secret"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider numbers its tokens; good is the only one that the server takes.
type provider struct {
	current    atomic.Int64
	challenges atomic.Int64
	last       atomic.Pointer[auth.Challenge]
	outcome    auth.Outcome
	err        error
}

func (p *provider) Credentials(context.Context, auth.Request) (auth.Credentials, error) {
	if p.err != nil {
		return auth.Credentials{}, p.err
	}
	n := p.current.Load()
	return auth.Credentials{Header: http.Header{"authorization": {fmt.Sprintf("Bearer %s-%d", token, n)}}, Generation: fmt.Sprint(n)}, nil
}

func (p *provider) Challenge(_ context.Context, _ auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	p.challenges.Add(1)
	p.last.Store(&ch)
	p.current.Add(1)
	return p.outcome, nil
}

func (p *provider) Close(context.Context) error { return nil }

// signer also signs: over method, URL and body.
type signer struct {
	provider
	seen atomic.Pointer[auth.HTTPRequest]
}

func (s *signer) Sign(_ context.Context, _ auth.Request, hr auth.HTTPRequest) (auth.Signature, error) {
	s.seen.Store(&hr)
	_, q, _ := strings.Cut(hr.URL, "?")
	return auth.Signature{
		Header:   http.Header{"X-Signature": {fmt.Sprintf("%s %s %x", hr.Method, hr.URL, hr.BodySHA256)}},
		RawQuery: q, Generation: "s" + fmt.Sprint(s.current.Load()),
	}, nil
}

type server struct {
	*httptest.Server
	good  atomic.Int64
	mu    sync.Mutex
	heads []http.Header
	bods  []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.heads, s.bods = append(s.heads, r.Header.Clone()), append(s.bods, string(body))
		s.mu.Unlock()
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			return
		}
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer %s-%d", token, s.good.Load()) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, strings.Repeat("no ", 4000), http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "ok ", len(body))
	}))
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, cfg Config) *http.Client {
	t.Helper()
	base := &http.Transport{}
	if cfg.Base == nil {
		cfg.Base = base
	}
	t.Cleanup(base.CloseIdleConnections)
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: tr}
}

func at(url string) auth.Request { return auth.Request{Target: auth.Target{Name: "t", URL: url}} }

func do(t *testing.T, c *http.Client, method, url string, body io.Reader, header ...string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

func TestARefusedRequestIsRepeatedOnceWithItsWholeBody(t *testing.T) {
	s := newServer(t)
	s.good.Store(1)
	for name, body := range map[string]func() io.Reader{
		"none":     func() io.Reader { return nil },
		"GetBody":  func() io.Reader { return strings.NewReader("hello") },
		"a stream": func() io.Reader { return io.MultiReader(strings.NewReader("hello")) },
	} {
		for _, p := range []auth.Provider{&provider{outcome: auth.Retry}, &signer{provider: provider{outcome: auth.Retry}}} {
			s.bods = nil
			status, text, err := do(t, client(t, Config{Provider: p, Request: at(s.URL)}), "POST", s.URL+"/x?a=1", body())
			if err != nil || status != 200 {
				t.Errorf("%s: %d %s %v", name, status, text, err)
			}
			if len(s.bods) != 2 || s.bods[0] != s.bods[1] || name != "none" && s.bods[0] != "hello" {
				t.Errorf("%s: sent %q", name, s.bods)
			}
		}
	}
	// A server that refuses everything is asked twice, and its answer is whole.
	s.good.Store(99)
	p := &provider{outcome: auth.Retry}
	s.bods = nil
	status, text, err := do(t, client(t, Config{Provider: p, Request: at(s.URL)}), "GET", s.URL, nil)
	if status != 401 || len(text) != 12001 || err != nil || len(s.bods) != 2 || p.challenges.Load() != 1 {
		t.Errorf("%d, %d bytes, %v, %d requests, %d challenges", status, len(text), err, len(s.bods), p.challenges.Load())
	}
	ch := p.last.Load()
	if len(ch.Body) != auth.MaxChallengeBody || ch.Status != 401 || ch.Header.Get("WWW-Authenticate") != "Bearer" ||
		ch.Generation != "0" || ch.SentAt.IsZero() || ch.Sent.Header.Get("Authorization") == "" {
		t.Errorf("challenge %v with %d bytes", ch, len(ch.Body))
	}
}

func TestASignerSeesTheRequestAsItWillBeOnTheWire(t *testing.T) {
	s := newServer(t)
	p := &signer{}
	url := s.URL + "/a%2Fb//c%20d;x/../?q=a+b&z=%2f"
	if status, _, err := do(t, client(t, Config{Provider: p, Request: at(s.URL)}), "POST", url, strings.NewReader("body"), "Traceparent", "x"); status != 200 {
		t.Fatal(status, err)
	}
	seen := p.seen.Load()
	if seen.URL != url || seen.Method != "POST" || seen.ContentLength != 4 || seen.BodySHA256 != sha256.Sum256([]byte("body")) ||
		seen.Header.Get("Traceparent") != "x" || seen.Header.Get("Authorization") == "" || "http://"+seen.Host != s.URL {
		t.Errorf("%v host %q", seen.URL, seen.Host)
	}
	if got := s.heads[0].Get("X-Signature"); got != fmt.Sprintf("POST %s %x", url, sha256.Sum256([]byte("body"))) {
		t.Errorf("sent signature %q", got)
	}
	if status, _, _ := do(t, client(t, Config{Provider: p, Request: at(s.URL)}), "DELETE", s.URL, nil); status != 200 || p.seen.Load().BodySHA256 != sha256.Sum256(nil) {
		t.Error("no body is the digest of nothing")
	}
}

func TestCredentialsNeverLeaveTheOrigin(t *testing.T) {
	here, there := newServer(t), newServer(t)
	for name, cfg := range map[string]Config{
		"provider": {Provider: &provider{outcome: auth.Retry}},
		"signer":   {Provider: &signer{provider: provider{outcome: auth.Retry}}},
	} {
		cfg.Request = at(here.URL + "/mcp")
		here.heads, there.heads = nil, nil
		c := client(t, cfg)
		status, _, err := do(t, c, "POST", here.URL+"/mcp?to="+there.URL+"/steal", strings.NewReader("x"), "Authorization", "outside", "Cookie", "c=d")
		if err != nil || status != 401 || len(there.heads) != 1 {
			t.Fatalf("%s: %d %v, %d requests elsewhere", name, status, err, len(there.heads))
		}
		for _, h := range []string{"Authorization", "X-Signature", "Cookie"} {
			if v := there.heads[0].Get(h); v != "" {
				t.Errorf("%s: %s went elsewhere: %q", name, h, v)
			}
		}
		// Within the origin it follows, signed anew.
		here.heads = nil
		if status, _, err := do(t, c, "POST", here.URL+"/mcp?to=/other", strings.NewReader("x")); status != 200 {
			t.Errorf("%s: redirect within the origin: %d %v", name, status, err)
		}
		if a, b := here.heads[0].Get("X-Signature"), here.heads[1].Get("X-Signature"); name == "signer" && (a == b || b == "") {
			t.Errorf("the redirect was not signed anew: %q %q", a, b)
		}
	}
}

func TestOriginsAreComparedBySchemeHostAndPort(t *testing.T) {
	var sent http.Header
	base := roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = r.Header
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
	})
	for _, tt := range []struct {
		target, url string
		same        bool
	}{
		{"https://a.example/mcp", "https://a.example/other?x", true},
		{"https://a.example/mcp", "https://A.EXAMPLE:443/", true},
		{"http://a.example:80", "http://a.example/", true},
		{"https://a.example/mcp", "http://a.example/mcp", false},
		{"https://a.example/mcp", "https://a.example:8443/mcp", false},
		{"https://a.example/mcp", "https://a.example.evil.example/mcp", false},
		{"https://a.example/mcp", "https://a.example@evil.example/mcp", false},
	} {
		c := client(t, Config{Base: base, Provider: &provider{}, Request: at(tt.target)})
		if _, _, err := do(t, c, "GET", tt.url, nil); err != nil {
			t.Fatal(err)
		}
		// What the client makes of a user in the URL is not ours, and is removed too.
		if got := strings.HasPrefix(sent.Get("Authorization"), "Bearer"); got != tt.same || !tt.same && sent.Get("Authorization") != "" {
			t.Errorf("target %s, request %s: %q", tt.target, tt.url, sent)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCredentialsFromOutsideAreRemovedAndTheRequestIsLeftAlone(t *testing.T) {
	s := newServer(t)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
	req.Header.Set("Authorization", "Bearer somebody-else")
	req.Header.Set("X-Api-Key", "somebody-else")
	req.Header.Set("X-Kept", "yes")
	resp, err := client(t, Config{Provider: &provider{}, Request: at(s.URL)}).Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if h := s.heads[0]; h.Get("X-Api-Key") != "" || h.Get("X-Kept") != "yes" || len(h.Values("Authorization")) != 1 || h.Get("Authorization") != "Bearer "+token+"-0" {
		t.Errorf("sent %q", h)
	}
	if req.Header.Get("Authorization") != "Bearer somebody-else" {
		t.Error("the caller's request was changed")
	}
}

// closer counts whether a body was closed.
type closer struct {
	io.Reader
	closed atomic.Int64
}

func (c *closer) Close() error { c.closed.Add(1); return nil }

func TestABodyIsClosedOnEveryPathAndBounded(t *testing.T) {
	s := newServer(t)
	large := strings.Repeat("x", 100)
	for _, tt := range []struct {
		name   string
		p      auth.Provider
		body   string
		good   int64
		status int
		err    any
	}{
		{"sent", &provider{}, "small", 0, 200, nil},
		{"no credentials", &provider{err: auth.ErrInteractionRequired}, "small", 0, 0, auth.ErrInteractionRequired},
		{"no credentials, large", &provider{err: auth.ErrInteractionRequired}, large, 0, 0, auth.ErrInteractionRequired},
		{"too large to sign", &signer{}, large, 0, 0, &BodyTooLargeError{}},
		{"large, not signed", &provider{}, large, 0, 200, nil},
		{"large, refused: not repeated", &provider{outcome: auth.Retry}, large, 1, 401, nil},
	} {
		s.good.Store(tt.good)
		b := &closer{Reader: strings.NewReader(tt.body)}
		c := client(t, Config{Provider: tt.p, Request: at(s.URL), MaxBodyBytes: 50})
		req, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL, b)
		resp, err := c.Transport.RoundTrip(req)
		status := 0
		if err == nil {
			status = resp.StatusCode
			resp.Body.Close()
		}
		if status != tt.status || tt.err == auth.ErrInteractionRequired && !errors.Is(err, auth.ErrInteractionRequired) { //nolint:errorlint // of the table above
			t.Errorf("%s: %d %v", tt.name, status, err)
		}
		if _, want := tt.err.(*BodyTooLargeError); want != errors.As(err, new(*BodyTooLargeError)) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if b.closed.Load() == 0 {
			t.Errorf("%s: the body was not closed", tt.name)
		}
	}
}

func TestRefusedDecidesWhatBecomesOfAnAnswer(t *testing.T) {
	s := newServer(t)
	s.good.Store(5)
	for _, outcome := range []auth.Outcome{auth.GiveUp, auth.NeedsLogin} {
		stop := errors.New("stop")
		var got auth.Outcome
		c := client(t, Config{Provider: &provider{outcome: outcome}, Request: at(s.URL), Refused: func(resp *http.Response, o auth.Outcome, err error) (*http.Response, error) {
			got = o
			resp.Body.Close()
			return nil, errors.Join(stop, err)
		}})
		if _, _, err := do(t, c, "GET", s.URL, nil); !errors.Is(err, stop) || got != outcome {
			t.Errorf("%v: %v %v", outcome, got, err)
		}
	}
}

type badSigner struct {
	provider
	sig auth.Signature
}

func (s *badSigner) Sign(context.Context, auth.Request, auth.HTTPRequest) (auth.Signature, error) {
	return s.sig, nil
}

func TestASignerCannotSmuggle(t *testing.T) {
	s := newServer(t)
	for name, sig := range map[string]auth.Signature{
		"a header with CRLF": {Header: http.Header{"X-A": {token + "\r\nX: y"}}},
		"Host":               {Header: http.Header{"host": {"evil"}}},
		"a query with space": {RawQuery: "a=1 HTTP/1.1\r\nX: y"},
		"a fragment":         {RawQuery: "a#b"},
	} {
		_, _, err := do(t, client(t, Config{Provider: &badSigner{sig: sig}, Request: at(s.URL)}), "GET", s.URL, nil)
		if err == nil || strings.Contains(err.Error(), token) || len(s.heads) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewReportsEveryFaultAtOnce(t *testing.T) {
	for _, url := range []string{"", "/mcp", "ftp://x/", "https://", "://" + token} {
		_, err := New(Config{MaxBodyBytes: -1, Request: at(url)})
		for _, field := range []string{"Provider", "Request.Target.URL", "MaxBodyBytes"} {
			if err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), token) {
				t.Errorf("%q: %s: %v", url, field, err)
			}
		}
	}
}

func TestManyRequestsAtOnceRefreshOnceConcurrentSafe(t *testing.T) {
	s := newServer(t)
	p := &provider{outcome: auth.Retry}
	cache, err := auth.NewCache(p, auth.CacheConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close(context.Background())
	c := client(t, Config{Provider: cache, Request: at(s.URL)})
	if status, _, err := do(t, c, "GET", s.URL, nil); status != 200 {
		t.Fatal(status, err)
	}
	s.good.Store(1) // revoked, in the middle of the load
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if status, text, err := do(t, c, "POST", s.URL, strings.NewReader("x")); status != 200 || text != "ok 1" {
				t.Errorf("%d %s %v", status, text, err)
			}
		})
	}
	wg.Wait()
	if n := p.challenges.Load(); n != 1 {
		t.Errorf("%d challenges", n)
	}
}

func BenchmarkTransport(b *testing.B) {
	base := roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
	})
	cache, err := auth.NewCache(&provider{}, auth.CacheConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer cache.Close(context.Background())
	tr, err := New(Config{Base: base, Provider: cache, Request: at("https://a.example/mcp")})
	if err != nil {
		b.Fatal(err)
	}
	body := strings.Repeat("x", 200)
	run := func(b *testing.B, rt http.RoundTripper) {
		b.ReportAllocs()
		for b.Loop() {
			req, _ := http.NewRequestWithContext(b.Context(), "POST", "https://a.example/mcp", strings.NewReader(body))
			resp, err := rt.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	static := http.Header{"Authorization": {"Bearer " + token}}
	b.Run("static", func(b *testing.B) {
		run(b, roundTrip(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			maps.Copy(r.Header, static)
			return base.RoundTrip(r)
		}))
	})
	b.Run("cached", func(b *testing.B) { run(b, tr) })
}
