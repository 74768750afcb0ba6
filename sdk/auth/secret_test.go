package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

var verbs = []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3v", "%T %v"}

// shown prints a value in every way there is.
func shown(v any) string {
	var b bytes.Buffer
	for _, verb := range verbs {
		args := []any{v}
		if strings.Count(verb, "%") == 2 {
			args = append(args, v)
		}
		fmt.Fprintf(&b, verb+"\n", args...)
	}
	if data, err := json.Marshal(v); err == nil {
		b.Write(data)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v, slog.Group("g", "v", v))
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v, slog.Group("g", "v", v))
	return b.String()
}

func TestSecretsDoNotShowThemselves(t *testing.T) {
	s := NewSecret(token)
	header := http.Header{"Authorization": {"Bearer " + token}, "X-Api-Key": {token}}
	hr := HTTPRequest{Method: "GET", URL: "https://u:" + token + "@h/p?access_token=" + token + "#" + token, Header: header}
	c := newCache(t, &fake{}, CacheConfig{})
	get(t, c, request("a"))
	for c.Stats().Running > 0 { // printing "in a Cache" reads what its goroutine writes
		runtime.Gosched()
	}
	e := c.keys.lookup(&Request{Identity: Identity{ID: "a"}, Target: request("a").Target})
	for name, v := range map[string]any{
		"Secret":      s,
		"*Secret":     &s,
		"[]Secret":    []Secret{s},
		"in a map":    map[string]Secret{"k": s},
		"exported":    struct{ S Secret }{s},
		"unexported":  struct{ s Secret }{s},
		"nested":      &struct{ in struct{ s *Secret } }{struct{ s *Secret }{&s}},
		"Credentials": Credentials{Header: header, Expires: time.Now(), Generation: "g"},
		"*Credential": &Credentials{Header: header},
		"Signature":   Signature{Header: header, RawQuery: "X-Amz-Signature=" + token},
		"HTTPRequest": hr,
		"Challenge":   Challenge{Sent: hr, Status: 401, Header: header, Body: []byte(token)},
		"Identity":    Identity{ID: "a", Attrs: map[string]string{"k": token}},
		"Request":     Request{Identity: Identity{Attrs: map[string]string{"k": token}}, Target: Target{URL: hr.URL}},
		"Target":      Target{Name: "n", URL: hr.URL},
		"bad URL":     Target{Name: "n", URL: "://" + token},
		"Cache":       c,
		"PanicError":  &PanicError{Method: "Sign", Value: token},
		"wrapped":     fmt.Errorf("x: %w", &PanicError{Method: "Sign", Value: errors.New(token)}),
		"in a Cache":  struct{ c *Cache }{c},
		"an entry":    &e.current,
	} {
		out := shown(v)
		hexed := fmt.Sprintf("%x", token)
		if strings.Contains(out, token) || strings.Contains(strings.ToLower(out), hexed) {
			t.Errorf("%s shows its secret:\n%s", name, out)
		}
	}
}

func TestASecretIsRevealedAndComparedOnPurposeOnly(t *testing.T) {
	a, b := NewSecret(token), NewSecret(token)
	if a.Reveal() != token || !a.Equal(b) || a.Equal(NewSecret(token+"x")) || a.Equal(Secret{}) {
		t.Error("Reveal or Equal is wrong")
	}
	if !(Secret{}).IsEmpty() || !NewSecret("").IsEmpty() || (Secret{}).Reveal() != "" || !(Secret{}).Equal(NewSecret("")) {
		t.Error("the empty secret is wrong")
	}
	var cfg struct{ Token Secret }
	if err := json.Unmarshal([]byte(`{"Token":"`+token+`"}`), &cfg); err != nil || cfg.Token.Reveal() != token {
		t.Errorf("from JSON: %v", err)
	}
	if text, _ := a.MarshalText(); string(text) != redacted {
		t.Errorf("%s", text)
	}
}

func TestCheckHeaderRefusesWhatCredentialsMayNotSet(t *testing.T) {
	for _, h := range []http.Header{
		{"host": {"x"}}, {"Content-Length": {"1"}}, {"content-type": {"x"}}, {"Connection": {"x"}}, {"Transfer-Encoding": {"x"}},
		{"MCP-Protocol-Version": {"x"}}, {"Mcp-Session-Id": {"x"}}, {"Last-Event-ID": {"x"}}, {"": {"x"}}, {"a b": {"x"}}, {"a:": {"x"}},
		{"Authorization": {token + "\n"}}, {"Authorization": {"\x00" + token}}, {"Authorization": {" " + token}}, {"Authorization": {"x", token + "\r"}},
	} {
		if err := CheckHeader(h); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", h, err)
		}
	}
	if err := CheckHeader(http.Header{"Authorization": {"Bearer " + token}, "DPoP": {"x"}, "X-Amz-Date": {"x"}, "Cookie": {"a=b", ""}}); err != nil {
		t.Error(err)
	}
}

func FuzzCheckHeader(f *testing.F) {
	f.Add("Authorization", "Bearer x")
	f.Add("X\r\nY", "a\nb")
	f.Fuzz(func(t *testing.T, name, value string) {
		if CheckHeader(http.Header{name: {value}}) != nil {
			return
		}
		var b bytes.Buffer
		(http.Header{name: {value}}).Write(&b)
		if want := name + ": " + value + "\r\n"; b.String() != want {
			t.Errorf("on the wire %q, want %q", b.String(), want)
		}
	})
}

func TestErrorsAreFoundThroughEachOther(t *testing.T) {
	err := fmt.Errorf("x: %w", &BackoffError{Failures: 3, RetryAt: time.Now(), Err: &ThrottledError{RetryAfter: time.Minute, Err: ErrCredentialsRejected}})
	if !errors.Is(err, ErrCredentialsRejected) || !errors.As(err, new(*ThrottledError)) {
		t.Error(err)
	}
	c := &ConfigError{Field: "Command.Args", Problem: "name no program", Err: ErrUnsupported}
	if !errors.Is(c, ErrUnsupported) || !strings.Contains(c.Error(), "Command.Args name no program") {
		t.Error(c)
	}
}

// The fast check of values says what the plain one would say.
func TestFieldValuesAreCheckedByteByByteWhateverTheSpeed(t *testing.T) {
	plain := func(s string) bool {
		for i := range len(s) {
			if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
				return false
			}
		}
		return s == strings.Trim(s, " \t")
	}
	for c := range 256 {
		for length := 1; length <= 20; length++ {
			for at := range length {
				b := bytes.Repeat([]byte{'~'}, length)
				b[at] = byte(c)
				if s := string(b); isFieldValue(s) != plain(s) {
					t.Fatalf("%q: %v, want %v", s, isFieldValue(s), plain(s))
				}
			}
		}
	}
	if !isFieldValue("") {
		t.Error("an empty value is refused")
	}
}
