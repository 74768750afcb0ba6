package sigv4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func static() *aws.Config {
	return &aws.Config{Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "a-very-secret-key", "a-session-token")}
}

func TestNewReportsEveryFaultAtOnce(t *testing.T) {
	_, err := New(Config{
		ExternalID: "x", SessionTags: []string{"t"}, SessionName: "!", SessionDuration: time.Second, MaxIdentities: -1,
		SignedHeaders: []string{"X-Ok", "traceparent", "accept"}, AWS: &aws.Config{},
	})
	for _, field := range []string{"Service", "Region", "ExternalID", "SessionTags", "SessionName", "SessionDuration",
		"MaxIdentities", "SignedHeaders[1]", "SignedHeaders[2]", "AWS.Credentials"} {
		if !strings.Contains(fmt.Sprint(err), field+" ") {
			t.Errorf("%s is missing in: %v", field, err)
		}
	}
	if _, err := New(Config{Service: "s", RoleARN: "arn:aws:iam::1:user/x", AWS: static()}); !errors.As(err, new(*auth.ConfigError)) {
		t.Errorf("a user's ARN: %v", err)
	}
}

func TestOnlyWhatMustBeSignedIsSigned(t *testing.T) {
	p := newProvider(t, Config{Service: "lambda", SignedHeaders: []string{"x-tenant", "X-Absent"}, AWS: static()})
	h := make(http.Header)
	for _, name := range append([]string{"Content-Type", "X-Amz-Target", "X-Tenant", "X-Other", "Mcp-Session-Id", "Cookie", "Baggage"}, unsigned...) {
		h.Set(name, "v")
	}
	sig, err := p.Sign(t.Context(), auth.Request{}, auth.HTTPRequest{Method: "POST", URL: "https://h/", Header: h, ContentLength: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, _, signed, _, _ := parseAuthorization(sig.Header.Get("Authorization"))
	want := "content-length;content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-tenant"
	if got := strings.Join(signed, ";"); got != want {
		t.Errorf("signed %s\nwant   %s", got, want)
	}
}

func TestAQueryThatTheSignerWouldDropIsAnErrorAndNotShown(t *testing.T) {
	p := newProvider(t, Config{Service: "lambda", AWS: static()})
	for _, q := range []string{"a=1;token=hush", "token=hush%zz"} {
		_, err := p.Sign(t.Context(), auth.Request{}, auth.HTTPRequest{Method: "GET", URL: "https://h/?" + q})
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", q, err)
		}
	}
}

func TestNothingPrintsTheKeys(t *testing.T) {
	p := newProvider(t, Config{Service: "lambda", AWS: static()})
	creds, err := p.Credentials(t.Context(), auth.Request{})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := p.Sign(t.Context(), auth.Request{}, auth.HTTPRequest{Method: "GET", URL: "https://h/"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{p, p.keys, creds, sig, struct{ p *Provider }{p}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, "a-very-secret-key") || strings.Contains(s, "a-session-token") {
				t.Errorf("%s of %T shows a key: %s", verb, v, s)
			}
		}
	}
}

func FuzzSignMatchesTheVerifier(f *testing.F) {
	f.Add("/a/b", "a+b&z=1&b=2", "v", false, false)
	f.Add("//x/../%2F%e1@:/", "%20=%2B", "  a   b ", true, false)
	f.Add("/.", "=&&", "", true, true)
	f.Fuzz(func(t *testing.T, path, query, value string, single, keep bool) {
		raw := "https://h.example/" + wire(path)
		if query != "" {
			raw += "?" + wire(query)
		}
		req, err := http.NewRequest("POST", raw, nil)
		if err != nil || req.URL.Fragment != "" || strings.Contains(raw, "#") {
			t.Skip("no request has such a URL")
		}
		h := http.Header{"X-Amz-Meta": {value}}
		if auth.CheckHeader(h) != nil {
			t.Skip()
		}
		p, err := New(Config{Service: "s", SingleEncodedPath: single, KeepPath: keep, AWS: static()})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		hr := auth.HTTPRequest{Method: "POST", URL: "https://h.example" + req.URL.RequestURI(), Header: h, BodySHA256: sha256.Sum256(nil)}
		sig, err := p.Sign(t.Context(), auth.Request{}, hr)
		if err != nil {
			t.Skip()
		}
		uri := req.URL.EscapedPath()
		if sig.RawQuery != "" {
			uri += "?" + sig.RawQuery
		} else if req.URL.RawQuery != "" {
			uri += "?" + req.URL.RawQuery
		}
		maps.Copy(h, sig.Header)
		_, scope, signed, got, _ := parseAuthorization(h.Get("Authorization"))
		v := &verifier{singleEncoded: single, keepPath: keep}
		canonical := v.canonical(arrived{"POST", uri, "h.example", h, 0, nil}, signed)
		if want := signatureOf(canonical, h.Get("X-Amz-Date"), scope, "a-very-secret-key"); got != want {
			t.Errorf("%s signed for something else than\n%s", hr.URL, canonical)
		}
	})
}

// The signer alone, beside it with everything around it.
func BenchmarkSign(b *testing.B) {
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`)
	sum := sha256.Sum256(body)
	header := http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Session-Id": {"x"}, "Traceparent": {"00-1-1-01"},
	}
	const url = "https://bedrock-agentcore.eu-central-1.amazonaws.com/runtimes/arn%3Aaws%3Ax/invocations?qualifier=DEFAULT"
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		signer := v4.NewSigner()
		keys := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "a-very-secret-key", SessionToken: "a-session-token"}
		for b.Loop() {
			req, _ := http.NewRequest("POST", url, nil)
			req.ContentLength = int64(len(body))
			req.Header.Set("Content-Type", "application/json")
			signer.SignHTTP(b.Context(), keys, req, hex.EncodeToString(sum[:]), "lambda", "eu-west-1", time.Now())
		}
	})
	b.Run("provider", func(b *testing.B) {
		b.ReportAllocs()
		p := newProvider(b, Config{Service: "lambda", AWS: static()})
		hr := auth.HTTPRequest{Method: "POST", URL: url, Header: header, ContentLength: int64(len(body)), BodySHA256: sum}
		for b.Loop() {
			if _, err := p.Sign(b.Context(), auth.Request{}, hr); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestKeysComeFromTheDefaultChain(t *testing.T) {
	none := t.TempDir() + "/none"
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDCHAIN", "AWS_SECRET_ACCESS_KEY": "chain-secret", "AWS_SESSION_TOKEN": "chain-token",
		"AWS_REGION": "sa-east-1", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	p := newProvider(t, Config{Service: "lambda"})
	sig, err := p.Sign(t.Context(), auth.Request{}, auth.HTTPRequest{Method: "GET", URL: "https://h/"})
	if err != nil {
		t.Fatal(err)
	}
	id, scope, _, _, _ := parseAuthorization(sig.Header.Get("Authorization"))
	if id != "AKIDCHAIN" || !strings.HasSuffix(scope, "/sa-east-1/lambda/aws4_request") || sig.Header.Get("X-Amz-Security-Token") != "chain-token" {
		t.Errorf("%s %s", id, scope)
	}
	if _, err := New(Config{Service: "lambda", Profile: "absent"}); !errors.As(err, new(*auth.ConfigError)) || !strings.Contains(err.Error(), "Profile") {
		t.Errorf("a profile that is not there: %v", err)
	}
}
