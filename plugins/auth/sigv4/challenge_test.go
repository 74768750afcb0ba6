package sigv4

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
)

// target is a service with a clock and keys of its own.
type target struct {
	*httptest.Server
	verifier *verifier
	mu       sync.Mutex // guards verifier
	refused  atomic.Int64
}

func newTarget(t *testing.T) *target {
	t.Helper()
	g := &target{verifier: &verifier{service: "lambda", region: "eu-west-1", now: time.Now, keys: map[string]secretKey{}}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		w.Header().Set("Date", g.verifier.now().UTC().Format(http.TimeFormat))
		id, err := g.verifier.verify(r)
		if err != nil {
			g.refused.Add(1)
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		io.WriteString(w, id)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *target) set(change func(*verifier)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g.verifier)
}

func (g *target) client(t *testing.T, p auth.Provider, id auth.Identity) *http.Client {
	t.Helper()
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	tr, err := authhttp.New(authhttp.Config{Base: base, Provider: p,
		Request: auth.Request{Identity: id, Target: auth.Target{Name: "lambda", URL: g.URL}}})
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: tr}
}

func post(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Post(url, "application/json", strings.NewReader(`{"jsonrpc":"2.0"}`))
	if err != nil {
		t.Errorf("post: %v", err)
		return 0, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// chain hands out numbered session keys which the target knows.
type chain struct {
	target   *target
	lifetime time.Duration
	n        atomic.Int64
}

func (c *chain) Retrieve(context.Context) (aws.Credentials, error) {
	n := c.n.Add(1)
	id := fmt.Sprintf("ASIA%d", n)
	keys := aws.Credentials{AccessKeyID: id, SecretAccessKey: "secret-" + id, SessionToken: "token-" + id}
	if c.lifetime > 0 {
		keys.CanExpire, keys.Expires = true, time.Now().Add(c.lifetime)
	}
	c.target.set(func(v *verifier) { v.keys[id] = secretKey{secret: keys.SecretAccessKey, token: keys.SessionToken} })
	return keys, nil
}

func chained(t *testing.T, g *target) (*Provider, *chain) {
	c := &chain{target: g, lifetime: time.Hour}
	return newProvider(t, Config{Service: "lambda", Region: "eu-west-1", AWS: &aws.Config{Credentials: aws.NewCredentialsCache(c)}}), c
}

func TestAClockThatIsOffIsLearnedFromOneRefusalConcurrentSafe(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour, 20 * time.Hour} {
		for _, cached := range []bool{false, true} {
			g := newTarget(t)
			g.set(func(v *verifier) { v.now = func() time.Time { return time.Now().Add(off) } })
			p, _ := chained(t, g)
			var provider auth.Provider = p
			if cached {
				c, err := auth.NewCache(p, auth.CacheConfig{})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close(context.Background())
				provider = c
			}
			client := g.client(t, provider, auth.Identity{})
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					if status, body := post(t, client, g.URL); status != 200 {
						t.Errorf("off by %v: %d %s", off, status, body)
					}
				})
			}
			wg.Wait()
			before := g.refused.Load()
			for range 10 {
				post(t, client, g.URL)
			}
			if g.refused.Load() != before {
				t.Errorf("off by %v: the clock was not remembered", off)
			}
			// And it moves again, as clocks that are set do.
			g.set(func(v *verifier) { v.now = time.Now })
			if status, body := post(t, client, g.URL); status != 200 {
				t.Errorf("set right: %d %s", status, body)
			}
		}
	}
}

func TestAClockADayOffIsNotBelieved(t *testing.T) {
	g := newTarget(t)
	g.set(func(v *verifier) { v.now = func() time.Time { return time.Now().Add(48 * time.Hour) } })
	p, _ := chained(t, g)
	if status, _ := post(t, g.client(t, p, auth.Identity{}), g.URL); status != 403 || g.refused.Load() != 1 {
		t.Errorf("status %d after %d refusals", status, g.refused.Load())
	}
}

func TestTheClockOfOneTargetIsNotAnothers(t *testing.T) {
	a, b := newTarget(t), newTarget(t)
	a.set(func(v *verifier) { v.now = func() time.Time { return time.Now().Add(time.Hour) } })
	p, _ := chained(t, a)
	b.verifier.keys = a.verifier.keys
	post(t, a.client(t, p, auth.Identity{}), a.URL)
	if status, body := post(t, b.client(t, p, auth.Identity{}), b.URL); status != 200 || b.refused.Load() != 0 {
		t.Errorf("%d %s", status, body)
	}
}

func TestAnExpiredSessionTokenInvalidatesTheCacheOnce(t *testing.T) {
	g := newTarget(t)
	p, c := chained(t, g)
	client := g.client(t, p, auth.Identity{})
	if status, id := post(t, client, g.URL); status != 200 || id != "ASIA1" {
		t.Fatalf("%d %s", status, id)
	}
	g.set(func(v *verifier) { k := v.keys["ASIA1"]; k.expired = true; v.keys["ASIA1"] = k })
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if status, id := post(t, client, g.URL); status != 200 || id != "ASIA2" {
				t.Errorf("%d %s", status, id)
			}
		})
	}
	wg.Wait()
	if n := c.n.Load(); n != 2 {
		t.Errorf("keys were fetched %d times, want 2", n)
	}
}

func TestARefusalThatNothingMendsStands(t *testing.T) {
	g := newTarget(t)
	p, c := chained(t, g)
	client := g.client(t, p, auth.Identity{})
	post(t, client, g.URL)
	g.set(func(v *verifier) { v.service = "other" })
	if status, body := post(t, client, g.URL); status != 403 || !strings.HasPrefix(body, "SignatureDoesNotMatch") {
		t.Errorf("%d %s", status, body)
	}
	if g.refused.Load() != 1 || c.n.Load() != 1 {
		t.Errorf("refused %d times, keys fetched %d times", g.refused.Load(), c.n.Load())
	}
}

func TestKeysAreRenewedBeforeTheyEndAndNobodyWaits(t *testing.T) {
	g := newTarget(t)
	c := &chain{target: g, lifetime: 20 * time.Second} // its last five minutes are all of it
	p := newProvider(t, Config{Service: "lambda", Region: "eu-west-1", AWS: &aws.Config{Credentials: aws.NewCredentialsCache(c)}})
	creds, err := p.Credentials(t.Context(), auth.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(creds.RefreshAfter); left > 11*time.Second || left < 9*time.Second {
		t.Errorf("renewal in %v", left)
	}
	if n := c.n.Load(); n != 2 {
		t.Errorf("%d keys: those about to end were not thrown away", n)
	}
}
