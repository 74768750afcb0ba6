package wire

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
)

// cross marshals and unmarshals, so that what cannot cross is seen.
func cross[M proto.Message](t *testing.T, m, into M) M {
	t.Helper()
	data, err := proto.Marshal(m)
	if err == nil {
		err = proto.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
	return into
}

func TestEveryFieldCrosses(t *testing.T) {
	t.Parallel()
	for _, scopes := range [][]string{nil, {}, {"a", "b"}} {
		req := auth.Request{
			Identity: auth.Identity{ID: "i", Attrs: map[string]string{"k": "v"}},
			Target:   auth.Target{Name: "n", URL: "https://x.example/a", Resource: "r"}, Scopes: scopes,
		}
		got := RequestFrom(cross(t, RequestTo(req), &authv1.Request{}))
		if got.Identity.ID != "i" || got.Identity.Attrs["k"] != "v" || got.Target != req.Target ||
			(got.Scopes == nil) != (scopes == nil) || !cmp.Equal(append([]string{}, got.Scopes...), append([]string{}, scopes...)) {
			t.Errorf("request: %#v", got.Scopes)
		}
	}
	h := http.Header{"A": {"1", "2"}, "B": {"\xff\xfe"}}
	hr := auth.HTTPRequest{
		Method: "POST", URL: "https://x.example/a%2Fb?c", Host: "h", Header: h, ContentLength: 7, BodySHA256: [32]byte{1, 31: 2},
	}
	if got := HTTPRequestFrom(cross(t, HTTPRequestTo(hr), &authv1.HttpRequest{})); !cmp.Equal(fields(got), fields(hr)) {
		t.Errorf("HTTP request: %v", fields(got))
	}
	at := time.Unix(1700000000, 5).UTC()
	c := auth.Credentials{Header: h, Expires: at, RefreshAfter: at.Add(-time.Hour), Generation: "g"}
	if got := CredentialsFrom(cross(t, CredentialsTo(c), &authv1.CredentialsResponse{})); !cmp.Equal(got.Header, h) ||
		!got.Expires.Equal(at) || !got.RefreshAfter.Equal(c.RefreshAfter) || got.Generation != "g" {
		t.Errorf("credentials: %v", got)
	}
	if got := CredentialsFrom(cross(t, CredentialsTo(auth.Credentials{}), &authv1.CredentialsResponse{})); !got.Expires.IsZero() {
		t.Errorf("no expiry became %v", got.Expires)
	}
	ch := auth.Challenge{Sent: hr, SentAt: at, Generation: "g", Status: 403, Header: h, Body: make([]byte, 5000)}
	got := ChallengeFrom(cross(t, ChallengeTo("i", auth.Request{}, ch), &authv1.ChallengeRequest{}))
	if !cmp.Equal(fields(got.Sent), fields(hr)) || !got.SentAt.Equal(at) || got.Generation != "g" || got.Status != 403 ||
		!cmp.Equal(got.Header, h) || len(got.Body) != auth.MaxChallengeBody {
		t.Errorf("challenge: %v", got)
	}
	for _, o := range []auth.Outcome{auth.GiveUp, auth.Retry, auth.NeedsLogin} {
		if got := OutcomeFrom(OutcomeTo(o)); got != o {
			t.Errorf("%v became %v", o, got)
		}
	}
}

// fields are what cmp can compare: the struct itself marshals to a description.
func fields(r auth.HTTPRequest) []any {
	return []any{r.Method, r.URL, r.Host, r.Header, r.ContentLength, r.BodySHA256}
}

func TestASubjectIsATokenOrAProblem(t *testing.T) {
	t.Parallel()
	m := &authv1.Request{Identity: &authv1.Identity{Subject: &authv1.Subject{Token: []byte("t\xff")}}}
	if s, err := RequestFrom(m).Identity.Subject(context.Background()); err != nil || s.Reveal() != "t\xff" {
		t.Errorf("%v", err)
	}
	m.Identity.Subject = &authv1.Subject{Problem: "none"}
	if _, err := RequestFrom(m).Identity.Subject(context.Background()); err == nil || err.Error() != "none" {
		t.Errorf("%v", err)
	}
	if RequestFrom(&authv1.Request{}).Identity.Subject != nil {
		t.Error("a subject came from nowhere")
	}
}

func TestHeadersThatComeTwiceAreOne(t *testing.T) {
	t.Parallel()
	h := HeaderFrom([]*authv1.Header{
		{Name: "x-a", Values: [][]byte{[]byte("1"), {}}}, {Name: "X-B", Values: [][]byte{[]byte("\xff")}},
		{Name: "X-A", Values: [][]byte{[]byte("2")}}, {Name: "X-None"},
	})
	h["X-A"] = append(h["X-A"], "3") // touches no other
	h["X-B"] = append(h["X-B"], "4")
	want := http.Header{"X-A": {"1", "", "2", "3"}, "X-B": {"\xff", "4"}, "X-None": {}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
}
