package oauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// checkAudience refuses an access token that says that it is for somebody else:
// sent to the target, it would let the target speak for the identity there. Most
// tokens say nothing to a client, and must not be asked. Those of RFC 9068 ("at+jwt")
// have an audience by definition.
func (p *Provider) checkAudience(access, resource string) error {
	audiences, ok := tokenAudiences(access)
	if !ok || oauthex.MatchesResource(audiences, resource) ||
		slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(p.cfg.Audiences, a) }) {
		return nil
	}
	for i, a := range audiences {
		if len(a) > 100 {
			audiences[i] = a[:100] + "…"
		}
	}
	return fmt.Errorf("the token is for %q and not for %s", audiences, redactURL(resource))
}

// tokenAudiences returns the aud claim of an RFC 9068 token, and false for all
// others. The signature is not for a client to check.
func tokenAudiences(access string) ([]string, bool) {
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return nil, false
	}
	var header struct {
		Type string `json:"typ"`
	}
	if !decodePart(parts[0], &header) {
		return nil, false
	}
	kind := strings.TrimPrefix(strings.ToLower(header.Type), "application/")
	if kind != "at+jwt" {
		return nil, false
	}
	var claims struct {
		Audience json.RawMessage `json:"aud"`
	}
	if !decodePart(parts[1], &claims) || len(bytes.TrimSpace(claims.Audience)) == 0 {
		return nil, false
	}
	var one string
	if json.Unmarshal(claims.Audience, &one) == nil {
		return []string{one}, true
	}
	var many []string
	if json.Unmarshal(claims.Audience, &many) == nil {
		return many, true
	}
	return nil, false
}

func decodePart(part string, into any) bool {
	data, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(data, into) == nil
}
