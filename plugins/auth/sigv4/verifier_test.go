package sigv4

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// verifier checks signatures from what arrived, sharing no code with the signer.
type verifier struct {
	service, region string
	keys            map[string]secretKey // by access key id
	now             func() time.Time
	singleEncoded   bool
	keepPath        bool
}

type secretKey struct {
	secret, token string
	expired       bool
}

// arrived is a request as it came over the wire.
type arrived struct {
	method, uri, host string
	header            http.Header
	length            int64
	body              []byte
}

// verify returns the access key id, or an error that begins with AWS's code for it.
func (v *verifier) verify(r *http.Request) (string, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	a := arrived{r.Method, r.RequestURI, r.Host, r.Header, r.ContentLength, body}
	id, scope, signed, signature, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return "", err
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		must := strings.HasPrefix(lower, "x-amz-") || lower == "content-type"
		never := slices.Contains([]string{"accept", "accept-encoding", "traceparent", "last-event-id", "connection", "user-agent", "authorization"}, lower)
		if has := slices.Contains(signed, lower); must && !has || never && has {
			return "", fmt.Errorf("IncompleteSignature: header %s: signed is %v", lower, has)
		}
	}
	if !slices.Contains(signed, "host") || len(body) > 0 && !slices.Contains(signed, "content-length") {
		return "", fmt.Errorf("IncompleteSignature: only %v are signed", signed)
	}
	key, ok := v.keys[id]
	if !ok || r.Header.Get("X-Amz-Security-Token") != key.token {
		return "", errors.New("UnrecognizedClientException: no such key")
	}
	if key.expired {
		return "", errors.New("ExpiredTokenException: The security token included in the request is expired")
	}
	date, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return "", err
	}
	if v.now().Sub(date).Abs() > 5*time.Minute {
		return "", errors.New("InvalidSignatureException: Signature expired: " + r.Header.Get("X-Amz-Date"))
	}
	if want := fmt.Sprintf("%s/%s/%s/aws4_request", date.Format("20060102"), v.region, v.service); scope != want {
		return "", fmt.Errorf("SignatureDoesNotMatch: scope %s, want %s", scope, want)
	}
	canonical := v.canonical(a, signed)
	if want := signatureOf(canonical, r.Header.Get("X-Amz-Date"), scope, key.secret); signature != want {
		return "", fmt.Errorf("SignatureDoesNotMatch: canonical request is %q", canonical)
	}
	return id, nil
}

func parseAuthorization(h string) (id, scope string, signed []string, signature string, err error) {
	rest, ok := strings.CutPrefix(h, "AWS4-HMAC-SHA256 ")
	if !ok {
		return "", "", nil, "", errors.New("MissingAuthenticationToken: no signature")
	}
	for part := range strings.SplitSeq(rest, ", ") {
		k, val, _ := strings.Cut(part, "=")
		switch k {
		case "Credential":
			id, scope, _ = strings.Cut(val, "/")
		case "SignedHeaders":
			signed = strings.Split(val, ";")
		case "Signature":
			signature = val
		}
	}
	return id, scope, signed, signature, nil
}

func (v *verifier) canonical(a arrived, signed []string) string {
	path, query, _ := strings.Cut(a.uri, "?")
	var headers strings.Builder
	for _, name := range signed {
		var values []string
		switch name {
		case "host":
			values = []string{a.host}
		case "content-length":
			values = []string{fmt.Sprint(a.length)}
		default:
			for k, vs := range a.header {
				if strings.EqualFold(k, name) {
					values = append(values, vs...)
				}
			}
		}
		for i := range values {
			values[i] = strings.Join(strings.FieldsFunc(values[i], func(r rune) bool { return r == ' ' }), " ")
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.Join(values, ","))
	}
	return strings.Join([]string{
		a.method, v.canonicalPath(path), canonicalQuery(query), headers.String(),
		strings.Join(signed, ";"), hexSum(a.body),
	}, "\n")
}

func (v *verifier) canonicalPath(path string) string {
	if !v.keepPath {
		var kept []string
		parts := strings.Split(path, "/")
		for _, p := range parts {
			if p == ".." && len(kept) > 0 {
				kept = kept[:len(kept)-1]
			} else if p != "" && p != "." && p != ".." {
				kept = append(kept, p)
			}
		}
		last := parts[len(parts)-1]
		path = "/" + strings.Join(kept, "/")
		if path != "/" && (last == "" || last == "." || last == "..") {
			path += "/"
		}
	}
	if v.singleEncoded {
		path = unescape(path, false)
	}
	return escape(path, true)
}

func canonicalQuery(query string) string {
	if query == "" {
		return ""
	}
	var pairs []string
	for pair := range strings.SplitSeq(query, "&") {
		k, val, _ := strings.Cut(pair, "=")
		pairs = append(pairs, escape(unescape(k, true), false)+"="+escape(unescape(val, true), false))
	}
	slices.SortFunc(pairs, func(a, b string) int { // by name, then value; "=" sorts last in neither
		ka, va, _ := strings.Cut(a, "=")
		kb, vb, _ := strings.Cut(b, "=")
		return strings.Compare(ka+"\x00"+va, kb+"\x00"+vb)
	})
	return strings.Join(pairs, "&")
}

func escape(s string, slash bool) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~", rune(c)) || slash && c == '/' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func unescape(s string, plus bool) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%' && i+2 < len(s):
			d, err := hex.DecodeString(s[i+1 : i+3])
			if err == nil {
				b, i = append(b, d...), i+2
				continue
			}
			b = append(b, s[i])
		case s[i] == '+' && plus:
			b = append(b, ' ')
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func stringToSign(canonical, date, scope string) string {
	return "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hexSum([]byte(canonical))
}

func signatureOf(canonical, date, scope, secret string) string {
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = hmacSum(key, part)
	}
	return hex.EncodeToString(hmacSum(key, stringToSign(canonical, date, scope)))
}

func hmacSum(key []byte, data string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(data))
	return m.Sum(nil)
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
