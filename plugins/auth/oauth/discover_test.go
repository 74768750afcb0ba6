package oauth

import (
	"errors"
	"maps"
	"net/http"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// challenged gives a provider a 401 and returns what it makes of it.
func challenged(t *testing.T, p *Provider, req auth.Request, header string) (auth.Outcome, error) {
	t.Helper()
	c := credentials(t, p, req)
	return p.Challenge(t.Context(), req, auth.Challenge{
		Sent:       auth.HTTPRequest{Method: http.MethodPost, URL: req.Target.URL, Header: c.Header},
		Generation: c.Generation, Status: http.StatusUnauthorized,
		Header: http.Header{"Www-Authenticate": {header}},
	})
}

func discovering(as *fakeAS) Config {
	return Config{
		Grant: ClientCredentials, Transport: as, AnyIssuer: true,
		Client: Client{ID: "machine", Secret: auth.NewSecret(fakeSecret)},
	}
}

func document(v map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, v) }
}

func TestDiscoveryLooksWhereTheChallengeSaysAndThenInTheWellKnownPlaces(t *testing.T) {
	t.Parallel()
	const well = "mcp.example/.well-known/oauth-protected-resource"
	good := func(resource string) http.HandlerFunc {
		return document(map[string]any{"resource": resource, "authorization_servers": []string{asIssuer}, "scopes_supported": []string{"a", "b c"}})
	}
	for _, tt := range []struct {
		name, header string
		documents    map[string]http.HandlerFunc
		resource     string // empty means that it is refused
	}{
		{"where the challenge says", `Bearer resource_metadata="https://docs.example/prm"`, map[string]http.HandlerFunc{
			"docs.example/prm": good(fakeResource),
		}, fakeResource},
		{"at the path", `Bearer`, map[string]http.HandlerFunc{well + "/mcp": good(fakeResource)}, fakeResource},
		{"at the root", `Bearer`, map[string]http.HandlerFunc{well: good("https://mcp.example")}, "https://mcp.example"},
		{"at the root, for the path", `Bearer`, map[string]http.HandlerFunc{well: good(fakeResource)}, fakeResource},
		{"behind a gateway that offers Negotiate too", `Negotiate YII==, Bearer resource_metadata="https://docs.example/prm"`,
			map[string]http.HandlerFunc{"docs.example/prm": good(fakeResource)}, fakeResource},
		{"where the challenge says, and it is gone", `Bearer resource_metadata="https://docs.example/prm"`,
			map[string]http.HandlerFunc{well + "/mcp": good(fakeResource)}, fakeResource},
		{"for another resource", `Bearer resource_metadata="https://docs.example/prm"`,
			map[string]http.HandlerFunc{"docs.example/prm": good("https://bank.example/mcp")}, ""},
		{"for the whole host, said by one of its tenants", `Bearer resource_metadata="https://mcp.example/tenant/prm"`,
			map[string]http.HandlerFunc{"mcp.example/tenant/prm": good("https://mcp.example")}, ""},
		{"for a neighbour with the same beginning", `Bearer`, map[string]http.HandlerFunc{well: good("https://mcp.example/mc")}, ""},
		{"for such a neighbour, said by itself", `Bearer resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mc"`,
			map[string]http.HandlerFunc{well + "/mc": good("https://mcp.example/mc")}, ""},
		{"over http", `Bearer resource_metadata="http://docs.example/prm"`, nil, ""},
		{"on loopback", `Bearer resource_metadata="http://127.0.0.1:6379/prm"`, nil, ""},
		{"with a server over http", `Bearer`, map[string]http.HandlerFunc{
			well: document(map[string]any{"resource": fakeResource, "authorization_servers": []string{"http://as.example", "ftp://x"}}),
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			as := newFakeAS()
			maps.Copy(as.handlers, tt.documents)
			p := newTest(t, discovering(as))
			req := requestFor("", fakeResource)
			outcome, err := challenged(t, p, req, tt.header)
			if tt.resource == "" {
				if err == nil || outcome != auth.GiveUp {
					t.Errorf("got %v, %v, want a refusal", outcome, err)
				}
				return
			}
			if outcome != auth.Retry || err != nil {
				t.Fatalf("got %v, %v, want Retry", outcome, err)
			}
			credentials(t, p, req)
			form := as.lastForm()
			if got := form.Get("resource"); got != tt.resource {
				t.Errorf("asked for resource %q, want %q", got, tt.resource)
			}
			if got := form.Get("scope"); got != "a" {
				t.Errorf("asked for scopes %q, want those of the metadata that are scopes", got)
			}
		})
	}
}

func TestTheScopesOfTheChallengeComeBeforeThoseOfTheMetadata(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	as.handlers["mcp.example/.well-known/oauth-protected-resource/mcp"] = document(map[string]any{
		"resource": fakeResource, "authorization_servers": []string{asIssuer}, "scopes_supported": []string{"everything"},
	})
	p := newTest(t, discovering(as))
	req := requestFor("", fakeResource)
	if _, err := challenged(t, p, req, `Bearer scope="just this"`); err != nil {
		t.Fatal(err)
	}
	credentials(t, p, req)
	if got := as.lastForm().Get("scope"); got != "just this" {
		t.Errorf("asked for %q", got)
	}
	req.Scopes = []string{"mine"}
	credentials(t, p, req)
	if got := as.lastForm().Get("scope"); got != "mine just this" {
		t.Errorf("asked for %q, want those of the request and of before", got)
	}
}

func TestScopeLimitHoldsAgainstGreedyTargets(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	cfg := as.machine()
	cfg.Scopes, cfg.ScopeLimit = []string{"read"}, []string{"read", "write"}
	p := newTest(t, cfg)
	req := requestFor("", fakeResource)
	c := credentials(t, p, req)
	step := func(scopes string) auth.Outcome {
		o, err := p.Challenge(t.Context(), req, auth.Challenge{
			Generation: c.Generation, Status: http.StatusForbidden,
			Header: http.Header{"Www-Authenticate": {`Bearer error="insufficient_scope", scope="` + scopes + `"`}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if got := step("delete-everything"); got != auth.GiveUp {
		t.Errorf("for a scope beyond the limit: %v", got)
	}
	if got := step("write"); got != auth.Retry {
		t.Errorf("for a scope within: %v", got)
	}
	credentials(t, p, req)
	if got := as.lastForm().Get("scope"); got != "read write" {
		t.Errorf("asked for %q", got)
	}
	c = credentials(t, p, req)
	if got := step("write"); got != auth.GiveUp {
		t.Errorf("for a scope that was asked for already: %v", got)
	}
}

func TestATargetWithoutMetadataIsItsOwnServer(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	as.handlers["mcp.example/token"] = func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, map[string]any{"access_token": "access-token-legacy", "token_type": "bearer"})
	}
	p := newTest(t, discovering(as))
	req := requestFor("", fakeResource)
	if outcome, err := challenged(t, p, req, "Bearer"); outcome != auth.Retry || err != nil {
		t.Fatalf("got %v, %v", outcome, err)
	}
	if got := bearer(t, credentials(t, p, req)); got != "access-token-legacy" {
		t.Errorf("got %q", got)
	}
}

func TestADiscoveryOutlivesTheProcessAndIsCorrectedByA401(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	prm := map[string]any{"resource": fakeResource, "authorization_servers": []string{asIssuer}}
	as.handlers["docs.example/prm"] = document(prm)
	cfg := discovering(as)
	cfg.Store = NewMemoryStore()
	req := requestFor("", fakeResource)
	if _, err := challenged(t, newTest(t, cfg), req, `Bearer resource_metadata="https://docs.example/prm"`); err != nil {
		t.Fatal(err)
	}
	next := newTest(t, cfg)
	bearer(t, credentials(t, next, req)) // at once, without a 401

	as.handlers["docs.example/moved"] = document(map[string]any{"resource": fakeResource, "authorization_servers": []string{"https://other.example"}})
	as.handlers["other.example/.well-known/openid-configuration"] = document(map[string]any{
		"issuer": "https://other.example", "token_endpoint": "https://other.example/token",
	})
	as.handlers["other.example/token"] = document(map[string]any{"access_token": "access-token-moved", "token_type": "bearer"})
	if outcome, err := challenged(t, next, req, `Bearer resource_metadata="https://docs.example/moved"`); outcome != auth.Retry || err != nil {
		t.Fatalf("got %v, %v", outcome, err)
	}
	if got := bearer(t, credentials(t, next, req)); got != "access-token-moved" {
		t.Errorf("after the move: %q", got)
	}
}

func TestATargetThatMovesToAnotherServerIsFollowedAtOnce(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	const place = "mcp.example/.well-known/oauth-protected-resource/mcp"
	as.handlers[place] = document(map[string]any{"resource": fakeResource, "authorization_servers": []string{asIssuer}})
	as.handlers["other.example/.well-known/openid-configuration"] = document(map[string]any{
		"issuer": "https://other.example", "token_endpoint": "https://other.example/token",
	})
	as.handlers["other.example/token"] = document(map[string]any{"access_token": "access-token-moved", "token_type": "bearer"})
	p := newTest(t, discovering(as))
	refuse := func(who auth.Request) {
		t.Helper()
		if outcome, err := challenged(t, p, who, "Bearer"); outcome != auth.Retry || err != nil {
			t.Fatalf("got %v, %v", outcome, err)
		}
	}
	alice, bob := requestFor("alice", fakeResource), requestFor("bob", fakeResource)
	refuse(alice)
	credentials(t, p, bob)
	before := as.requests(place)
	refuse(alice) // with a token that is younger than the metadata
	if n := as.requests(place) - before; n != 1 {
		t.Fatalf("looked %d times, want once", n)
	}
	refuse(bob) // with one of before that look
	if n := as.requests(place) - before; n != 1 {
		t.Errorf("looked %d times, want once for both", n)
	}
	as.handlers[place] = document(map[string]any{"resource": fakeResource, "authorization_servers": []string{"https://other.example"}})
	refuse(alice)
	if got := bearer(t, credentials(t, p, alice)); got != "access-token-moved" {
		t.Errorf("after the move: %q", got)
	}
	as.handlers[place] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	refuse(bob) // the known server will do
	if got := bearer(t, credentials(t, p, bob)); got != "access-token-moved" {
		t.Errorf("without metadata: %q", got)
	}
}

func TestOtherRefusalsStand(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	p := newTest(t, as.machine())
	req := requestFor("", fakeResource)
	c := credentials(t, p, req)
	for _, header := range []string{"", "Bearer", `Bearer error="invalid_token"`, `Bearer error="insufficient_scope"`, `Basic error="insufficient_scope", scope="x"`} {
		outcome, err := p.Challenge(t.Context(), req, auth.Challenge{
			Generation: c.Generation, Status: http.StatusForbidden, Header: http.Header{"Www-Authenticate": {header}},
		})
		if outcome != auth.GiveUp || err != nil {
			t.Errorf("403 with %q: %v, %v", header, outcome, err)
		}
	}
	if as.tokenRequests() != 1 {
		t.Error("a refusal that stands cost a token request")
	}
}

func TestALateRefusalOfAnOldTokenCostsNothing(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	p := newTest(t, as.machine())
	req := requestFor("", fakeResource)
	old := credentials(t, p, req)
	refuse := func(generation string) {
		t.Helper()
		outcome, err := p.Challenge(t.Context(), req, auth.Challenge{Generation: generation, Status: http.StatusUnauthorized, Header: http.Header{}})
		if outcome != auth.Retry || err != nil {
			t.Fatalf("got %v, %v", outcome, err)
		}
	}
	refuse(old.Generation)
	current := credentials(t, p, req)
	if current.Generation == old.Generation {
		t.Error("the refused token was handed out again")
	}
	refuse(old.Generation)
	if got := credentials(t, p, req); got.Generation != current.Generation || as.tokenRequests() != 2 {
		t.Errorf("%d token requests, want 2", as.tokenRequests())
	}
}

func TestAnUnreachableDocumentIsNotTakenForNone(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	as.handlers["mcp.example/.well-known/oauth-protected-resource/mcp"] = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
	}
	p := newTest(t, discovering(as))
	outcome, err := challenged(t, p, requestFor("", fakeResource), "Bearer")
	e, ok := errors.AsType[*EndpointError](err)
	if outcome != auth.GiveUp || !ok || e.Status != http.StatusBadGateway {
		t.Errorf("got %v, %v", outcome, err)
	}
}
