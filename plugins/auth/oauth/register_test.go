package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestAClientIDMetadataDocumentStandsForARegistrationWhereSupported(t *testing.T) {
	t.Parallel()
	for _, supported := range []bool{true, false} {
		as := newFakeAS()
		as.metadata = func(m map[string]any) {
			m["client_id_metadata_document_supported"] = supported
			m["registration_endpoint"] = asIssuer + "/register"
		}
		as.handlers["as.example/register"] = document(map[string]any{"client_id": "registered-1"})
		cfg := as.person()
		cfg.Client = Client{MetadataURL: "https://app.example/client.json"}
		p := newTest(t, cfg)
		if err := p.Login(t.Context(), requestFor("alice", fakeResource), newScripted(goodCallback)); err != nil {
			t.Fatal(err)
		}
		want := "registered-1"
		if supported {
			want = "https://app.example/client.json"
		}
		if got := as.lastForm().Get("client_id"); got != want {
			t.Errorf("supported %v: client %q, want %q", supported, got, want)
		}
	}
}

func TestARegistrationThatTheServerForgotIsMadeAnew(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	as.metadata = func(m map[string]any) { m["registration_endpoint"] = asIssuer + "/register" }
	n := 0
	as.handlers["as.example/register"] = func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.WriteHeader(http.StatusCreated)
		writeJSON(w, map[string]any{
			"client_id": fmt.Sprint("registered-", n), "client_secret": fakeSecret, "client_secret_expires_at": 0,
			"token_endpoint_auth_method": methodPost,
		})
	}
	as.token = func(w http.ResponseWriter, _ *http.Request, form url.Values) {
		if form.Get("client_id") != fmt.Sprint("registered-", n) || n == 1 {
			oauthError(w, 401, "invalid_client", "who are you?")
			return
		}
		as.issue(w, form)
	}
	cfg := as.machine()
	cfg.Client = Client{}
	p := newTest(t, cfg)
	credentials(t, p, requestFor("", fakeResource))
	credentials(t, p, requestFor("other", fakeResource))
	if n != 2 {
		t.Errorf("%d registrations, want 2", n)
	}
	cfg.Registration.Disabled = true
	if _, err := newTest(t, cfg).Credentials(t.Context(), requestFor("", fakeResource)); !errors.Is(err, auth.ErrUnsupported) {
		t.Errorf("with registration disabled: %v", err)
	}
}

func TestALoginThatFailedRegistersAnewTheNextTime(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	as.metadata = func(m map[string]any) { m["registration_endpoint"] = asIssuer + "/register" }
	n := 0
	as.handlers["as.example/register"] = func(w http.ResponseWriter, _ *http.Request) {
		n++
		writeJSON(w, map[string]any{"client_id": fmt.Sprint("registered-", n)})
	}
	cfg := as.person()
	cfg.Client = Client{}
	p := newTest(t, cfg)
	req := requestFor("alice", fakeResource)
	lost := newScripted(nil)
	lost.block = true // the server shows "unknown client", and the browser never comes back
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-lost.shown; leave() }()
	if err := p.Login(ctx, req, lost); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := p.Login(t.Context(), req, newScripted(goodCallback)); err != nil {
		t.Fatal(err)
	}
	if got := as.lastForm().Get("client_id"); got != "registered-2" {
		t.Errorf("logged in as %q", got)
	}
	// A refresh that the server refuses for the same reason has that effect too.
	c := credentials(t, p, req)
	if _, err := p.Challenge(t.Context(), req, auth.Challenge{Generation: c.Generation, Status: 401, Header: http.Header{}}); err != nil {
		t.Fatal(err)
	}
	as.token = func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
		oauthError(w, 401, "invalid_client", "who?")
	}
	if _, err := p.Credentials(t.Context(), req); !errors.Is(err, auth.ErrInteractionRequired) {
		t.Fatalf("got %v, want ErrInteractionRequired", err)
	}
	as.token = nil
	if err := p.Login(t.Context(), req, newScripted(goodCallback)); err != nil {
		t.Fatal(err)
	}
	if got := as.lastForm().Get("client_id"); got != "registered-3" {
		t.Errorf("logged in as %q", got)
	}
}
