package sigv4server

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const dateFormat = "20060102T150405Z"

// verify returns who signed a request. Its errors begin with AWS's code for what is
// wrong, as AWS describes it in "Create a signed AWS API request".
func (s *Server) verify(r *http.Request, body []byte, service string) (caller string, err error) {
	id, scope, signed, signature := parse(r.Header.Get("Authorization"))
	if id == "" {
		return "", errors.New("MissingAuthenticationTokenException: no signature")
	}
	k, ok := s.lookup(id)
	switch {
	case !ok || subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Amz-Security-Token")), []byte(k.token)) != 1:
		return "", errors.New("UnrecognizedClientException: the security token is invalid")
	case k.expired:
		return "", errors.New("ExpiredTokenException: The security token included in the request is expired")
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if (lower == "content-type" || strings.HasPrefix(lower, "x-amz-")) && !slices.Contains(signed, lower) {
			return "", fmt.Errorf("IncompleteSignatureException: %s is not signed", lower)
		}
	}
	if !slices.Contains(signed, "host") {
		return "", errors.New("IncompleteSignatureException: host is not signed")
	}
	date, err := time.Parse(dateFormat, r.Header.Get("X-Amz-Date"))
	if err != nil {
		return "", errors.New("IncompleteSignatureException: no date")
	}
	if off := s.now().Sub(date); off.Abs() > 5*time.Minute {
		return "", fmt.Errorf("InvalidSignatureException: Signature expired: it is off by %v", off.Round(time.Second))
	}
	if want := fmt.Sprintf("%s/%s/%s/aws4_request", date.Format("20060102"), s.cfg.Region, service); scope != want {
		return "", fmt.Errorf("SignatureDoesNotMatch: the scope is %s, not %s", scope, want)
	}
	want := sign(k.secret, date, scope, canonical(r, body, signed))
	if subtle.ConstantTimeCompare([]byte(signature), []byte(want)) != 1 {
		return "", errors.New("SignatureDoesNotMatch: the request was changed after it was signed, or signed with another key")
	}
	return k.caller, nil
}

func parse(authorization string) (id, scope string, signed []string, signature string) {
	rest, ok := strings.CutPrefix(authorization, "AWS4-HMAC-SHA256 ")
	if !ok {
		return "", "", nil, ""
	}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			id, scope, _ = strings.Cut(value, "/")
		case "SignedHeaders":
			signed = strings.Split(value, ";")
		case "Signature":
			signature = value
		}
	}
	return id, scope, signed, signature
}

// canonical is the canonical request, of what arrived.
func canonical(r *http.Request, body []byte, signed []string) string {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	var headers strings.Builder
	for _, name := range signed {
		var value string
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		default:
			values := slices.Clone(r.Header.Values(name))
			for i, v := range values {
				values[i] = strings.Join(strings.Fields(v), " ")
			}
			value = strings.Join(values, ",")
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, value)
	}
	sum := sha256.Sum256(body)
	return strings.Join([]string{
		r.Method, escape(path, true), canonicalQuery(query), headers.String(), strings.Join(signed, ";"), hex.EncodeToString(sum[:]),
	}, "\n")
}

func canonicalQuery(query string) string {
	var pairs []string
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		pairs = append(pairs, reescape(name)+"="+reescape(value))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func reescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		s = plain
	}
	return escape(s, false)
}

// escape is the UriEncode of AWS.
func escape(s string, keepSlash bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 || keepSlash && c == '/' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func sign(secret string, date time.Time, scope, canonicalRequest string) string {
	sum := sha256.Sum256([]byte(canonicalRequest))
	text := "AWS4-HMAC-SHA256\n" + date.Format(dateFormat) + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	k := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		k = mac(k, part)
	}
	return hex.EncodeToString(mac(k, text))
}

func mac(k []byte, text string) []byte {
	h := hmac.New(sha256.New, k)
	h.Write([]byte(text)) // never fails
	return h.Sum(nil)
}
