package sigv4

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

const suite = "testdata/aws-signing-test-suite/v4"

// vector is one case of AWS's suite, as its files say.
type vector struct {
	name                    string
	method, uri             string // the request target in wire form
	header                  http.Header
	body                    string
	canonical, sts, sig     string
	authorization, date     string
	key, secret, token      string
	scope, service, region  string
	keepPath, double, hash  bool
	tokenUnsigned, onlyCReq bool
}

func TestSignPassesTheSignatureTestSuiteOfAWS(t *testing.T) {
	dirs, err := os.ReadDir(suite)
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) < 40 {
		t.Fatalf("only %d cases", len(dirs))
	}
	ran := 0
	for _, d := range dirs {
		t.Run(d.Name(), func(t *testing.T) {
			v := load(t, d.Name())
			if v.tokenUnsigned {
				t.Skip("does not apply: a session token sent outside the signature; ours is always inside")
			}
			ran++
			v.check(t, v.double)
			if !v.double && !strings.Contains(v.uri, "%") {
				v.check(t, true) // the two ways agree where nothing is escaped
			}
		})
	}
	if ran != len(dirs)-1 {
		t.Errorf("%d of %d cases ran", ran, len(dirs))
	}
}

func (v *vector) check(t *testing.T, double bool) {
	t.Helper()
	var known []string
	for name := range v.header {
		if !(&Config{}).signs(name) && name != "Host" && name != "Content-Length" {
			known = append(known, name)
		}
	}
	date, err := time.Parse(amzDate, v.date)
	if err != nil {
		t.Fatal(err)
	}
	p := newProvider(t, Config{
		Service: v.service, Region: v.region, SignedHeaders: known,
		SingleEncodedPath: !double, KeepPath: v.keepPath, SignContentSHA256: v.hash,
		AWS: &aws.Config{Credentials: credentials.NewStaticCredentialsProvider(v.key, v.secret, v.token)},
	})
	p.now = func() time.Time { return date }
	host := v.header.Get("Host")
	sent := v.header.Clone()
	sent.Del("Host")
	sent.Del("Content-Length")
	hr := auth.HTTPRequest{
		Method: v.method, URL: "https://" + host + v.uri, Header: sent,
		ContentLength: int64(len(v.body)), BodySHA256: sha256.Sum256([]byte(v.body)),
	}
	sig, err := p.Sign(t.Context(), auth.Request{}, hr)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(sent, sig.Header)
	path, query, _ := strings.Cut(v.uri, "?")
	if query != "" {
		path += "?" + sig.RawQuery
	}
	_, scope, signed, _, _ := parseAuthorization(sig.Header.Get("Authorization"))
	ver := &verifier{singleEncoded: !double, keepPath: v.keepPath}
	canonical := ver.canonical(arrived{v.method, path, host, sent, hr.ContentLength, []byte(v.body)}, signed)
	if canonical != v.canonical {
		t.Errorf("canonical request\n%s\nwant\n%s", canonical, v.canonical)
	}
	if v.onlyCReq {
		return
	}
	if got := stringToSign(canonical, v.date, scope); v.sts != "" && got != v.sts {
		t.Errorf("string to sign\n%s\nwant\n%s", got, v.sts)
	}
	if got := sig.Header.Get("Authorization"); got != v.authorization || !strings.Contains(got, v.sig) {
		t.Errorf("authorization\n%s\nwant\n%s", got, v.authorization)
	}
	if got := sig.Header.Get("X-Amz-Security-Token"); got != v.token {
		t.Errorf("token %q, want %q", got, v.token)
	}
}

func load(t *testing.T, name string) *vector {
	t.Helper()
	read := func(file string) string {
		data, err := os.ReadFile(filepath.Join(suite, name, file))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	v := &vector{name: name, canonical: strings.TrimRight(read("header-canonical-request.txt"), "\n"), sts: strings.TrimSpace(read("header-string-to-sign.txt")), sig: strings.TrimSpace(read("header-signature.txt"))}

	// The two cases without a context are about double encoding.
	ctx := struct {
		Credentials struct {
			ID     string `json:"access_key_id"`
			Secret string `json:"secret_access_key"`
			Token  string `json:"token"`
		} `json:"credentials"`
		Normalize bool `json:"normalize"`
		SignBody  bool `json:"sign_body"`
		OmitToken bool `json:"omit_session_token"`
	}{Normalize: true}
	if c := read("context.json"); c != "" {
		if err := json.Unmarshal([]byte(c), &ctx); err != nil {
			t.Fatal(err)
		}
	} else {
		v.double = true
	}
	v.keepPath, v.hash, v.tokenUnsigned = !ctx.Normalize, ctx.SignBody, ctx.OmitToken
	v.secret = cmp.Or(ctx.Credentials.Secret, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
	v.token = ctx.Credentials.Token

	var target string
	v.method, target, v.header, v.body = parseRequest(t, read("request.txt"))
	v.uri = wire(target)
	_, _, signed, _ := parseRequest(t, read("header-signed-request.txt"))
	v.authorization = signed.Get("Authorization")
	v.key, v.scope, _, _, _ = parseAuthorization(v.authorization)
	parts := strings.Split(v.scope, "/")
	v.region, v.service = parts[1], parts[2]
	for line := range strings.SplitSeq(v.canonical, "\n") {
		if d, ok := strings.CutPrefix(line, "x-amz-date:"); ok {
			v.date = d
		}
	}
	// A case whose two files name different days has no signature to compare.
	v.onlyCReq = !strings.HasPrefix(v.date, parts[0])
	return v
}

// parseRequest reads the suite's form: no space after the colon, a target that may
// hold spaces, folded header lines, an empty line before the body.
func parseRequest(t *testing.T, raw string) (method, target string, h http.Header, body string) {
	t.Helper()
	head, body, _ := strings.Cut(raw, "\n\n")
	lines := strings.Split(head, "\n")
	method, target, _ = strings.Cut(strings.TrimSuffix(lines[0], " HTTP/1.1"), " ")
	h = make(http.Header)
	last := ""
	for _, line := range lines[1:] {
		if name, value, ok := strings.Cut(line, ":"); ok && line[0] != ' ' {
			last = http.CanonicalHeaderKey(name)
			h.Add(last, strings.TrimSpace(value))
		} else if last != "" && line != "" {
			vs := h[last]
			vs[len(vs)-1] += " " + strings.TrimSpace(line) // RFC 9112, 5.2
		}
	}
	return method, target, h, strings.TrimSuffix(body, "\n")
}

// wire escapes what cannot be in a request line.
func wire(target string) string {
	var b strings.Builder
	for _, c := range []byte(target) {
		if c <= ' ' || c >= 0x7f {
			b.WriteString(escape(string([]byte{c}), false))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func newProvider(t testing.TB, cfg Config) *Provider {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}
