package mcpool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestHeadersOfACallAreOnItsRequestsAndOnNoOther(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(nil)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				want := fmt.Sprint(i)
				var opts []Option
				if i%2 == 0 {
					opts = append(opts, WithHeader("X-Call", want))
				} else {
					want = ""
				}
				res, err := p.Call(t.Context(), "header", map[string]any{"text": "X-Call"}, opts...)
				if err != nil || text(t, res, err) != want {
					t.Errorf("call %d had %v (%v)", i, res, err)
				}
			})
		}
		wg.Wait()
		n := 0
		for _, r := range s.seen() {
			if r.header.Get("X-Call") != "" {
				n++
			}
		}
		if n != 10 {
			t.Errorf("%d requests had the header, want 10", n)
		}
	})
}

func TestHeadersOfTheProtocolAreRefused(t *testing.T) {
	t.Parallel()
	p := newServer(t, oldEra).open(nil)
	var bad *OptionError
	for _, name := range []string{"Host", "Content-Length", "Mcp-Session-Id", "bad name"} {
		if _, err := p.Call(t.Context(), "echo", nil, WithHeader(name, "x")); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// issuer is a provider whose tokens a test can revoke.
type issuer struct {
	mu     sync.Mutex
	serial map[string]int
	asked  map[string]int
	failed error
}

func (i *issuer) token(id string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return fmt.Sprintf("token-of-%s-%d", id, i.serial[id])
}

func (i *issuer) provide(_ context.Context, id auth.Identity) (auth.Credentials, error) {
	token := i.token(id.ID)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked[id.ID]++
	return auth.Credentials{Header: http.Header{"Authorization": {"Bearer " + token}}}, i.failed
}

func (i *issuer) revoke(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serial[id]++
}

func (i *issuer) count(id string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[id]
}

// guarded makes a server that demands current tokens.
func guarded(t *testing.T, e era) (*server, *issuer) {
	s, i := newServer(t, e), &issuer{serial: make(map[string]int), asked: make(map[string]int)}
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		parts := strings.Split(token, "-")
		if len(parts) == 4 && i.token(parts[2]) == token {
			return false
		}
		http.Error(w, "who are you, "+token+"?", http.StatusUnauthorized)
		return true
	})
	return s, i
}

func TestEveryRequestCarriesTheCredentialsOfItsIdentity(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s, i := guarded(t, e)
		p, err := Open(t.Context(), Config{Endpoint: s.url(), Auth: AuthFunc(i.provide), Identity: identityNamed("app"), ConnectTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		res, err := p.Call(t.Context(), "whoami", nil)
		if got := text(t, res, err); got != "Bearer token-of-app-0" {
			t.Errorf("got %q", got)
		}
		res, err = p.Call(t.Context(), "whoami", nil, WithIdentity(auth.Identity{ID: "alice"}))
		if got := text(t, res, err); got != "Bearer token-of-alice-0" {
			t.Errorf("got %q", got)
		}
		if _, err := p.ListTools(t.Context()); err != nil { // starts the listener
			t.Fatal(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		methods := make(map[string]int)
		for _, r := range s.seen() {
			methods[r.method]++
			if r.header.Get("Authorization") == "" {
				t.Errorf("a %s without credentials", r.method)
			}
		}
		if e == oldEra && methods["DELETE"] == 0 {
			t.Error("no DELETE")
		}
	})
}

func TestARefusedTokenIsRefreshedOnceAndTheCallsRepeated(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s, i := guarded(t, e)
		p := s.open(func(c *Config) { c.Auth = AuthFunc(i.provide); c.Identity = auth.Identity{ID: "app"} })
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		opened, asked := p.Stats().Sessions.Opened, i.count("app")
		i.revoke("app")
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				res, err := p.Call(t.Context(), "whoami", nil)
				if err != nil || text(t, res, err) != "Bearer token-of-app-1" {
					t.Errorf("got %v, %v", res, err)
				}
			})
		}
		wg.Wait()
		if n := i.count("app") - asked; n != 1 {
			t.Errorf("the provider was asked %d times", n)
		}
		if n := p.Stats().Sessions.Closed; n != 0 && e == oldEra {
			t.Errorf("%d sessions were closed for a new token", n)
		}
		_ = opened
	})
}

func TestARefusalIsForTheCallAloneAndNamesNoToken(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(nil)
		var refuse atomic.Bool
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if refuse.Load() && r.Header.Get("X-Bad") != "" {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		})
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		hang, cancel := context.WithCancel(t.Context())
		neighbour := make(chan error, 1)
		go func() {
			_, err := p.Call(hang, "hang", nil)
			neighbour <- err
		}()
		poll(t, "the neighbour to run", func() bool { return s.ran("hang") == 1 })
		refuse.Store(true)
		var refusal *AuthError
		if _, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Bad", "secret-token")); !errors.As(err, &refusal) {
			t.Errorf("got %v", err)
		} else if strings.Contains(err.Error(), "secret-token") {
			t.Errorf("the error shows the token: %v", err)
		}
		select {
		case err := <-neighbour:
			t.Errorf("the neighbour ended: %v", err)
		default:
		}
		cancel()
		if err := <-neighbour; !errors.Is(err, context.Canceled) {
			t.Errorf("the neighbour: %v", err)
		}
		if n := p.Stats().Sessions.Closed; n > 1 {
			t.Errorf("%d sessions closed", n)
		}
	})
}

func TestACredentialHeaderFormsAnIdentityUsedForItsHandshakeToo(t *testing.T) {
	t.Parallel()
	s, _ := guarded(t, oldEra)
	p := s.open(func(c *Config) { c.Lazy = true; c.Min = Off })
	res, err := p.Call(t.Context(), "session", nil, WithHeader("Authorization", "Bearer token-of-bob-0"))
	bob := text(t, res, err)
	res, err = p.Call(t.Context(), "session", nil, WithHeader("Authorization", "Bearer token-of-eve-0"))
	if eve := text(t, res, err); bob == eve {
		t.Error("two tokens shared a session")
	}
	for _, info := range p.Snapshot() {
		if strings.Contains(fmt.Sprintf("%+v", info), "token") {
			t.Errorf("the snapshot shows a token: %+v", info)
		}
	}
}

func TestSharedEndpointLetsTokensShareSessions(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(func(c *Config) {
		c.SharedEndpoint = true
		c.Min, c.Max = 1, 1
		c.Auth = Bearer(auth.NewSecret("the-pools-own"))
	})
	ids := make(map[string]bool)
	for _, token := range []string{"Bearer a", "Bearer b"} {
		res, err := p.Call(t.Context(), "session", nil, WithHeader("Authorization", token))
		ids[text(t, res, err)] = true
		res, err = p.Call(t.Context(), "whoami", nil, WithHeader("Authorization", token))
		if got := text(t, res, err); got != token {
			t.Errorf("sent %q, arrived %q", token, got)
		}
	}
	if len(ids) != 1 {
		t.Errorf("%d sessions for two calls", len(ids))
	}
}

func TestAnExplicitIdentityKeepsItsSessionsAcrossTokens(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(nil)
	var ids [2]string
	for i, token := range []string{"Bearer one", "Bearer two"} {
		res, err := p.Call(t.Context(), "session", nil, WithIdentity(auth.Identity{ID: "alice"}), WithHeader("Authorization", token))
		ids[i] = text(t, res, err)
		res, err = p.Call(t.Context(), "whoami", nil, WithIdentity(auth.Identity{ID: "alice"}), WithHeader("Authorization", token))
		if got := text(t, res, err); got != token {
			t.Errorf("sent %q, arrived %q", token, got)
		}
	}
	if ids[0] != ids[1] {
		t.Error("a new token opened a new session")
	}
}

func TestCredentialsNeverFollowARedirectToAnotherOrigin(t *testing.T) {
	t.Parallel()
	var leaked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Add(1) }))
	defer other.Close()
	s, i := guarded(t, oldEra)
	p := s.open(func(c *Config) { c.Auth = AuthFunc(i.provide); c.Identity = auth.Identity{ID: "app"} })
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		return true
	})
	if _, err := p.Call(t.Context(), "echo", nil); !errors.Is(err, ErrOrigin) {
		t.Errorf("got %v", err)
	}
	if leaked.Load() != 0 {
		t.Error("a request reached the other origin")
	}
	s.hook.Store(nil)
}

// TestNothingCrossesBetweenIdentitiesConcurrentSafe has two identities work side
// by side on a server with state, while one of them is refused, cancelled and
// thrown out of its sessions.
func TestNothingCrossesBetweenIdentitiesConcurrentSafe(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s, i := guarded(t, e)
		p := s.open(func(c *Config) {
			c.Auth, c.Lazy, c.Min = AuthFunc(i.provide), true, Off
			c.CircuitMin, c.CircuitMax = 10*time.Millisecond, 100*time.Millisecond // bob comes back soon
		})
		guard := *s.hook.Load()
		var evict atomic.Bool
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if evict.Load() && r.Header.Get("Mcp-Session-Id") != "" && strings.Contains(r.Header.Get("Authorization"), "of-bob") {
				http.Error(w, "session not found", http.StatusNotFound)
				return true
			}
			return guard(w, r)
		})
		var mu sync.Mutex
		owner := make(map[string]string) // of MCP sessions
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		var done [2]atomic.Int32
		for n, name := range []string{"alice", "bob"} {
			for worker := range 8 {
				wg.Go(func() {
					for ctx.Err() == nil {
						call, stop := context.WithCancel(ctx)
						if name == "bob" && worker == 0 {
							stop() // cancelled at once, again and again
						}
						res, err := p.Call(call, "whoami", nil, WithIdentity(auth.Identity{ID: name}))
						stop()
						switch {
						case err == nil:
							done[n].Add(1)
							if got := text(t, res, nil); !strings.HasPrefix(got, "Bearer token-of-"+name+"-") {
								t.Errorf("%s spoke as %q", name, got)
							}
						case ctx.Err() == nil && name == "alice":
							t.Errorf("alice: %v", err)
						}
						if e == oldEra && err == nil {
							res, err := p.Call(ctx, "session", nil, WithIdentity(auth.Identity{ID: name}))
							if err == nil {
								mu.Lock()
								if was := owner[text(t, res, nil)]; was != "" && was != name {
									t.Errorf("%s had a session of %s", name, was)
								}
								owner[text(t, res, nil)] = name
								mu.Unlock()
							}
						}
					}
				})
			}
		}
		for range 5 {
			a, b := done[0].Load(), done[1].Load()
			poll(t, "both to get through", func() bool { return done[0].Load() >= a+20 && done[1].Load() >= b+20 })
			i.revoke("bob")
			evict.Store(true)
			a = done[0].Load()
			poll(t, "alice to get through while bob is thrown out", func() bool { return done[0].Load() >= a+5 })
			evict.Store(false)
		}
		cancel()
		wg.Wait()
	})
}

func identityNamed(id string) auth.Identity { return auth.Identity{ID: id} }
