package sigv4

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

const role = "arn:aws:iam::123456789012:role/agents"

// stsServer speaks the query protocol of STS (API version 2011-06-15) for
// AssumeRole, and verifies signatures.
type stsServer struct {
	*httptest.Server
	target *target
	mu     sync.Mutex
	asked  []url.Values
	fail   string // an error code
}

func newSTS(t *testing.T, g *target) *stsServer {
	t.Helper()
	s := &stsServer{target: g}
	v := &verifier{service: "sts", region: "eu-west-1", now: time.Now, keys: map[string]secretKey{"AKIDBASE": {secret: "base-secret"}}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, err := v.verify(r); err != nil {
			stsError(w, 403, "SignatureDoesNotMatch", err.Error())
			return
		}
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		if form.Get("Action") != "AssumeRole" || form.Get("Version") != "2011-06-15" || form.Get("RoleArn") != role {
			stsError(w, 400, "ValidationError", "unexpected request")
			return
		}
		s.asked = append(s.asked, form)
		if s.fail != "" {
			status := 403
			if s.fail == "Throttling" {
				status = 400
			}
			stsError(w, status, s.fail, "User is not authorized to perform: sts:AssumeRole")
			return
		}
		id := fmt.Sprintf("ASIAROLE%d", len(s.asked))
		key := secretKey{secret: "role-secret-" + id, token: "role-token/" + id + "+=="}
		g.set(func(v *verifier) { v.keys[id] = key })
		var b bytes.Buffer
		for _, f := range []struct{ name, value string }{
			{"AccessKeyId", id}, {"SecretAccessKey", key.secret}, {"SessionToken", key.token},
			{"Expiration", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
		} {
			fmt.Fprintf(&b, "<%s>", f.name)
			xml.EscapeText(&b, []byte(f.value))
			fmt.Fprintf(&b, "</%s>", f.name)
		}
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>%s</Credentials>`+
			`<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/agents/x</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>`+
			`</AssumeRoleResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></AssumeRoleResponse>`, b.String())
	}))
	t.Cleanup(s.Close)
	return s
}

func stsError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>`, code)
	xml.EscapeText(w, []byte(message))
	fmt.Fprint(w, `</Message></Error><RequestId>r-2</RequestId></ErrorResponse>`)
}

func (s *stsServer) config(t *testing.T) Config {
	// The client is not the provider's, so what it keeps does not end with that: a connection
	// that is kept would be taken for a leak, whenever a second one is made.
	base := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(base.CloseIdleConnections)
	return Config{
		Service: "lambda", Region: "eu-west-1", RoleARN: role, ExternalID: "ext-1", STSEndpoint: s.URL,
		SessionTags: []string{"team", "stage"},
		AWS: &aws.Config{
			Credentials: credentials.NewStaticCredentialsProvider("AKIDBASE", "base-secret", ""),
			HTTPClient:  &http.Client{Transport: base},
			Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		},
	}
}

func TestEachIdentityHasARoleSessionOfItsOwn(t *testing.T) {
	g := newTarget(t)
	s := newSTS(t, g)
	p := newProvider(t, s.config(t))
	ids := []auth.Identity{
		{},
		{ID: "alice@example.com", Attrs: map[string]string{"team": "red", "secretive": "x"}},
		{ID: "böse/id", Attrs: map[string]string{"team": "blue", "stage": "prod"}},
	}
	seen := make(map[string]bool)
	for round := range 3 {
		for _, id := range ids {
			status, key := post(t, g.client(t, p, id), g.URL)
			if status != 200 || round == 0 && seen[key] || round > 0 && !seen[key] {
				t.Errorf("%v: %d %s", id, status, key)
			}
			seen[key] = true
		}
	}
	if len(s.asked) != len(ids) {
		t.Fatalf("STS was asked %d times for %d identities", len(s.asked), len(ids))
	}
	for i, want := range []map[string]string{
		{"RoleSessionName": "mcpool", "ExternalId": "ext-1", "DurationSeconds": "3600", "Tags.member.1.Key": ""},
		{"RoleSessionName": "mcpool-alice@example.com", "Tags.member.1.Key": "team", "Tags.member.1.Value": "red", "Tags.member.2.Key": ""},
		{"RoleSessionName": "mcpool-b-se-id", "Tags.member.1.Value": "blue", "Tags.member.2.Key": "stage", "Tags.member.2.Value": "prod"},
	} {
		for k, v := range want {
			if got := s.asked[i].Get(k); got != v {
				t.Errorf("identity %d: %s = %q, want %q", i, k, got, v)
			}
		}
	}
}

func TestSTSErrorsSayWhatTheyMeanAndAreRemembered(t *testing.T) {
	g := newTarget(t)
	s := newSTS(t, g)
	p := newProvider(t, s.config(t))
	for code, check := range map[string]func(error) bool{
		"AccessDenied":   func(err error) bool { return errors.Is(err, auth.ErrCredentialsRejected) },
		"Throttling":     func(err error) bool { return errors.As(err, new(*auth.ThrottledError)) },
		"ServiceFailure": func(err error) bool { return err != nil && !errors.Is(err, auth.ErrCredentialsRejected) },
	} {
		s.mu.Lock()
		s.fail = code
		s.asked = nil
		s.mu.Unlock()
		req := auth.Request{Identity: auth.Identity{ID: code}}
		_, err := p.Credentials(t.Context(), req)
		if !check(err) {
			t.Errorf("%s: %v", code, err)
		}
		for range 100 {
			_, err = p.Sign(t.Context(), req, auth.HTTPRequest{Method: "GET", URL: g.URL + "/"})
		}
		if !errors.As(err, new(*auth.BackoffError)) || !check(err) {
			t.Errorf("%s, remembered: %v", code, err)
		}
		if n := len(s.asked); n > 2 {
			t.Errorf("%s: STS was asked %d times in a moment", code, n)
		}
		for _, secret := range []string{"base-secret", "role-secret"} {
			if text := fmt.Sprintf("%v %+v %#v", err, err, p); strings.Contains(text, secret) {
				t.Errorf("%s: a secret in %s", code, text)
			}
		}
	}
}

func TestAThousandIdentitiesAreBoundedAndHoldNoGoroutines(t *testing.T) {
	g := newTarget(t)
	s := newSTS(t, g)
	cfg := s.config(t)
	cfg.MaxIdentities = 100
	p := newProvider(t, cfg)
	req := func(i int) auth.Request { return auth.Request{Identity: auth.Identity{ID: fmt.Sprint("id", i)}} }
	if _, err := p.Credentials(t.Context(), req(0)); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for i := range 1000 {
		if _, err := p.Credentials(t.Context(), req(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.keys.Stats().Keys; n > 100 {
		t.Errorf("%d sessions remembered", n)
	}
	late := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > before+20 { // connections come and go
		if time.Now().After(late) {
			t.Fatalf("%d goroutines more", runtime.NumGoroutine()-before)
		}
		<-time.After(time.Millisecond)
	}
}

func TestCloseEndsACallToSTS(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }))
	defer hang.Close()
	s := &stsServer{Server: hang}
	p, err := New(s.config(t))
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := p.Credentials(context.Background(), auth.Request{})
		failed <- err
	}()
	for p.keys.Stats().Running == 0 {
		runtime.Gosched()
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, auth.ErrClosed) {
		t.Errorf("the waiter got %v", err)
	}
}
