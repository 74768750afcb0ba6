package oauth

import (
	"net/http"
	"strings"
)

// wwwChallenge is one challenge of a WWW-Authenticate header (RFC 9110, 11.6.1).
// Scheme and names are in lower case.
type wwwChallenge struct {
	scheme string
	params map[string]string
}

// maxChallengeBytes is how much of a header is looked at.
const maxChallengeBytes = 16 << 10

// parseChallenges reads what it can. It is not oauthex's parser because that one
// returns nothing at all when any part is not of the form it expects: an empty
// realm, or the token68 of a gateway that offers Negotiate too, would end discovery.
func parseChallenges(headers []string) []wwwChallenge {
	var out []wwwChallenge
	for _, h := range headers {
		s := &scanner{rest: h[:min(len(h), maxChallengeBytes)]}
		for !s.done() {
			word := s.token()
			if word == "" {
				s.skip(1) // a comma, or what has no business here
				continue
			}
			// A word followed by "=" is a parameter of the challenge before it, any other
			// one begins a challenge. The "=" of a token68 comes after a space and a word.
			if value, ok := s.value(); ok {
				if len(out) > 0 {
					last := out[len(out)-1]
					name := strings.ToLower(word)
					if _, twice := last.params[name]; !twice {
						last.params[name] = value
					}
				}
				continue
			}
			out = append(out, wwwChallenge{scheme: strings.ToLower(word), params: make(map[string]string)})
			s.token68()
		}
	}
	return out
}

type scanner struct{ rest string }

func (s *scanner) done() bool { return s.rest == "" }

func (s *scanner) skip(n int) { s.rest = s.rest[min(n, len(s.rest)):] }

func (s *scanner) space() {
	s.rest = strings.TrimLeft(s.rest, " \t")
}

// token takes a token (RFC 9110, 5.6.2) with the space before it.
func (s *scanner) token() string {
	s.space()
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	word := s.rest[:n]
	s.skip(n)
	return word
}

// value takes "=" and a token or quoted string, if they come next.
func (s *scanner) value() (string, bool) {
	after := strings.TrimLeft(s.rest, " \t")
	if !strings.HasPrefix(after, "=") {
		return "", false
	}
	s.rest = after[1:]
	s.space()
	if !strings.HasPrefix(s.rest, `"`) {
		return s.unquoted(), true
	}
	s.skip(1)
	var b strings.Builder
	for !s.done() {
		c := s.rest[0]
		s.skip(1)
		switch {
		case c == '"':
			return b.String(), true
		case c == '\\' && !s.done():
			b.WriteByte(s.rest[0])
			s.skip(1)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true // not terminated
}

// unquoted takes more than a token: URLs and scopes come without quotes from some.
func (s *scanner) unquoted() string {
	n := strings.IndexAny(s.rest, ", \t")
	if n < 0 {
		n = len(s.rest)
	}
	v := s.rest[:n]
	s.skip(n)
	return v
}

// token68 takes the other form that a challenge may have after its scheme.
func (s *scanner) token68() {
	after := strings.TrimLeft(s.rest, " \t")
	n := 0
	for n < len(after) && (isTokenByte(after[n]) || after[n] == '/') {
		n++
	}
	word := n
	for n < len(after) && after[n] == '=' {
		n++
	}
	end := strings.TrimLeft(after[n:], " \t")
	switch {
	case word == 0 || end != "" && end[0] != ',':
		return // a parameter, or another challenge
	case n == word && end == "" && !strings.Contains(after[:word], "/"):
		return // "Bearer Negotiate" is nonsense in either reading
	}
	s.rest = end
}

func isTokenByte(c byte) bool {
	alnum := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
	return alnum || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// asked is what a target's refusal says that matters here.
type asked struct {
	metadataURL string   // RFC 9728
	code        string   // RFC 6750, 3.1 or RFC 9449
	scopes      []string // RFC 6750
}

// readChallenge takes the first challenge of a scheme that OAuth knows for each.
func readChallenge(h http.Header) asked {
	var a asked
	for _, c := range parseChallenges(h.Values("WWW-Authenticate")) {
		if c.scheme != "bearer" && c.scheme != "dpop" {
			continue
		}
		if a.metadataURL == "" {
			a.metadataURL = c.params["resource_metadata"]
		}
		if a.code == "" || c.scheme == "dpop" && c.params["error"] != "" {
			a.code = cleanCode(c.params["error"])
		}
		if len(a.scopes) == 0 {
			a.scopes = parseScopes(c.params["scope"])
		}
	}
	return a
}
