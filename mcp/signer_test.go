package mcpool

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// sealer is a provider that signs: a number used once, and a seal over it and all
// that says what is asked of whom. The key changes with each challenge.
type sealer struct {
	nonce atomic.Uint64
	key   atomic.Uint64
}

var (
	_ auth.Provider = (*sealer)(nil)
	_ auth.Signer   = (*sealer)(nil)
)

func (s *sealer) Credentials(context.Context, auth.Request) (auth.Credentials, error) {
	return auth.Credentials{Generation: fmt.Sprint(s.key.Load())}, nil
}

func (s *sealer) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	s.key.Add(1)
	return auth.Retry, nil
}

func (s *sealer) Close(context.Context) error { return nil }

func (s *sealer) Sign(_ context.Context, req auth.Request, hr auth.HTTPRequest) (auth.Signature, error) {
	u, err := url.Parse(hr.URL)
	if err != nil {
		return auth.Signature{}, err
	}
	host := hr.Host
	if host == "" {
		host = u.Host
	}
	nonce, id := fmt.Sprint(s.nonce.Add(1)), req.Identity.ID
	return auth.Signature{Header: http.Header{
		"X-Nonce": {nonce}, "X-Id": {id},
		"X-Seal": {seal(s.key.Load(), nonce, id, hr.Method, host, u.RequestURI(), hr.Header, hr.BodySHA256)},
	}}, nil
}

func seal(key uint64, nonce, id, method, host, uri string, h http.Header, body [32]byte) string {
	mac := hmac.New(sha256.New, fmt.Append(nil, key))
	fmt.Fprintf(mac, "%s %s %s %s %s %s %s %x", nonce, id, method, host, uri, h.Get("Mcp-Session-Id"), h.Get("Last-Event-ID"), body)
	return hex.EncodeToString(mac.Sum(nil))
}

// inspector checks seals at the server.
type inspector struct {
	sealer *sealer

	mu      sync.Mutex
	used    map[string]bool
	methods map[string]int // of requests that were in order
	faults  []string
}

// refuse answers what is not in order with 401.
func (i *inspector) refuse(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return true // it was cut off
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	nonce := r.Header.Get("X-Nonce")
	want := seal(i.sealer.key.Load(), nonce, r.Header.Get("X-Id"), r.Method, r.Host, r.URL.RequestURI(), r.Header, sha256.Sum256(body))
	i.mu.Lock()
	defer i.mu.Unlock()
	if nonce == "" || i.used[nonce] {
		i.faults = append(i.faults, fmt.Sprintf("%s %s: nonce %q", r.Method, r.Header.Get("Mcp-Method"), nonce))
	}
	i.used[nonce] = true
	if r.Header.Get("X-Seal") != want {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	i.methods[r.Method]++
	return false
}

func TestEveryAttemptIsSignedAnew(t *testing.T) {
	t.Parallel()
	for _, e := range []era{oldEra, modernEra, sseEra} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, e)
			in := &inspector{sealer: &sealer{}, used: make(map[string]bool), methods: make(map[string]int)}
			var mu sync.Mutex
			var streams []context.CancelFunc // those for notifications
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if in.refuse(w, r) {
					return true
				}
				if r.Method == http.MethodGet || r.Header.Get("Mcp-Method") == "subscriptions/listen" {
					ctx, cancel := context.WithCancel(r.Context())
					mu.Lock()
					streams = append(streams, cancel)
					mu.Unlock()
					*r = *r.WithContext(ctx) // so that the test can end it
				}
				return false
			})
			p, err := Open(t.Context(), Config{
				Endpoint: s.url(), SSE: e == sseEra, Auth: in.sealer, Identity: identityNamed("app"), Replay: ReplayReadOnly, ConnectTimeout: time.Minute,
			})
			if err != nil {
				t.Fatal(err)
			}
			closed := false
			defer func() {
				if !closed {
					_ = p.Close(t.Context())
				}
			}()
			for i := range 5 {
				want := fmt.Sprint(i)
				res, err := p.Call(t.Context(), "echo", map[string]any{"text": want}, WithIdentity(identityNamed("alice")))
				if got := text(t, res, err); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			// The stream for notifications is reopened, with a signature of its own.
			if _, err := p.ListTools(t.Context()); err != nil {
				t.Fatal(err)
			}
			poll(t, "the stream", func() bool { return s.listeners() > 0 })
			n := s.listeners()
			mu.Lock()
			for _, end := range streams {
				end()
			}
			mu.Unlock()
			poll(t, "the stream to be reopened", func() bool {
				if e == sseEra { // the stream is the session, which is replaced when it is wanted
					_, _ = p.Call(t.Context(), "echo", nil)
				}
				return s.listeners() > n
			})
			closed = true
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			in.mu.Lock()
			defer in.mu.Unlock()
			for _, fault := range in.faults {
				t.Error(fault)
			}
			if in.methods["POST"] == 0 || e != modernEra && in.methods["GET"] < 2 || e == oldEra && in.methods["DELETE"] == 0 {
				t.Errorf("requests in order: %v", in.methods)
			}
		})
	}
}

func TestARefusedSignatureIsMadeAnewForThatAttempt(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		in := &inspector{sealer: &sealer{}, used: make(map[string]bool), methods: make(map[string]int)}
		s.intercept(in.refuse)
		p := s.open(func(c *Config) { c.Auth = in.sealer; c.Min, c.Max = 1, 1 })
		var once atomic.Bool
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if in.refuse(w, r) {
				return true
			}
			if r.Header.Get("X-Call") != "" && !once.Swap(true) {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			return false
		})
		key := in.sealer.key.Load()
		if _, err := p.Call(t.Context(), "write", nil, WithHeader("X-Call", "1")); err != nil {
			t.Fatal(err)
		}
		if n := s.ran("write"); n != 1 || in.sealer.key.Load() != key+1 {
			t.Errorf("ran %d times, challenged %d times", n, in.sealer.key.Load()-key)
		}
		for _, fault := range in.faults {
			t.Error(fault)
		}
	})
}
