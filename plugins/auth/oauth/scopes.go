package oauth

import (
	"slices"
	"strings"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// needed are the scopes without which a token is not good enough for the request.
// What a target demanded later can be had at once where nobody must consent.
func (p *Provider) needed(req auth.Request, rec *record) []string {
	scopes := union(p.cfg.Scopes, req.Scopes)
	if !p.cfg.Grant.interactive() {
		scopes = union(scopes, rec.StepUp)
	}
	return p.limit(scopes)
}

// wanted are the scopes to ask for.
func (p *Provider) wanted(req auth.Request, srv *server, rec *record) []string {
	scopes := union(p.cfg.Scopes, req.Scopes)
	if len(scopes) == 0 {
		scopes = srv.scopes
	}
	// What was asked for before is asked for again, or each request with scopes of its
	// own would take away those of the one before.
	return p.limit(union(scopes, rec.Requested, rec.StepUp))
}

func (p *Provider) limit(scopes []string) []string {
	if p.cfg.ScopeLimit == nil {
		return scopes
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !slices.Contains(p.cfg.ScopeLimit, s) })
}

// union is a ∪ b in order of appearance.
func union(lists ...[]string) []string {
	var out []string
	for _, list := range lists {
		for _, s := range list {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

func isScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return s != ""
}

// parseScopes keeps what is a scope; nil if nothing is.
func parseScopes(s string) []string {
	var out []string
	for scope := range strings.FieldsSeq(s) {
		if isScope(scope) {
			out = append(out, scope)
		}
	}
	return out
}
