package authserver

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"
)

// Token is what an access token stands for.
type Token struct {
	Client   string
	User     string // the client's ID where it acts for itself
	Resource string
	Scopes   []string
	Expires  time.Time
	login    *login
}

// login is what one consent has led to: all its tokens end together.
type login struct {
	ended   bool
	expires time.Time
}

// ticket is a refresh token.
type ticket struct {
	Token
	spent bool
}

// token is the token endpoint.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	c, ok := s.authenticate(r)
	if !ok {
		s.refuse(w, http.StatusUnauthorized, "invalid_client", "")
		return
	}
	var code string
	var answer map[string]any
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		answer, code = s.fromCode(c, r)
	case deviceGrant:
		answer, code = s.fromDevice(c, r)
	case "refresh_token":
		answer, code = s.fromRefresh(c, r)
	case "client_credentials":
		answer, code = s.fromClient(c, r)
	default:
		code = "unsupported_grant_type"
	}
	if code != "" {
		s.refuse(w, http.StatusBadRequest, code, "")
		return
	}
	reply(w, http.StatusOK, answer)
}

func (s *Server) fromCode(c Client, r *http.Request) (answer map[string]any, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.codes[r.PostFormValue("code")]
	delete(s.codes, r.PostFormValue("code")) // good once
	if g == nil || g.client != c.ID || time.Now().After(g.expires) ||
		r.PostFormValue("redirect_uri") != g.redirect || !g.proves(r.PostFormValue("code_verifier")) {
		return nil, "invalid_grant"
	}
	return s.loggedInLocked(g, r)
}

func (s *Server) fromDevice(c Client, r *http.Request) (answer map[string]any, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PostFormValue("device_code")
	g := s.devices[id]
	switch {
	case g == nil || g.client != c.ID:
		return nil, "invalid_grant"
	case time.Now().After(g.expires):
		delete(s.devices, id)
		return nil, "expired_token"
	case g.denied:
		delete(s.devices, id)
		return nil, "access_denied"
	case g.user == "":
		return nil, "authorization_pending"
	}
	delete(s.devices, id)
	return s.loggedInLocked(g, r)
}

// loggedInLocked ends a login with its first tokens.
//
// REQUIRES: s.mu
func (s *Server) loggedInLocked(g *grant, r *http.Request) (answer map[string]any, code string) {
	if resource := r.PostFormValue("resource"); resource != "" && resource != g.resource {
		return nil, "invalid_target"
	}
	s.stats.Logins++
	return s.issueLocked(Token{
		Client: g.client, User: g.user, Resource: g.resource, Scopes: g.scopes,
		login: &login{expires: time.Now().Add(s.cfg.LoginLifetime)},
	}), ""
}

// fromRefresh gives new tokens for a refresh token, which is good once. Whoever
// brings it a second time, a thief or the one it was stolen from, ends the login.
func (s *Server) fromRefresh(c Client, r *http.Request) (answer map[string]any, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.refresh[r.PostFormValue("refresh_token")]
	switch {
	case t == nil || t.Client != c.ID || t.login.ended || time.Now().After(t.login.expires):
		return nil, "invalid_grant"
	case t.spent:
		t.login.ended = true
		s.stats.Reused++
		return nil, "invalid_grant"
	}
	if resource := r.PostFormValue("resource"); resource != "" && resource != t.Resource {
		return nil, "invalid_target"
	}
	t.spent = true
	s.stats.Refreshes++
	return s.issueLocked(t.Token), ""
}

func (s *Server) fromClient(c Client, r *http.Request) (answer map[string]any, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := Token{
		Client: c.ID, User: c.ID, Resource: r.PostFormValue("resource"), Scopes: s.allowed(strings.Fields(r.PostFormValue("scope"))),
		login: &login{},
	}
	switch {
	case c.Secret == "":
		return nil, "unauthorized_client"
	case t.Resource == "":
		return nil, "invalid_target"
	case len(t.Scopes) == 0:
		return nil, "invalid_scope"
	}
	s.stats.Machine++
	return s.issueLocked(t), ""
}

// issueLocked makes an access token, and a refresh token where a person logged in.
//
// REQUIRES: s.mu
func (s *Server) issueLocked(t Token) map[string]any {
	now := time.Now()
	for old, of := range s.access {
		if now.After(of.Expires) {
			delete(s.access, old)
		}
	}
	t.Expires = now.Add(s.cfg.AccessLifetime)
	access := "access-" + rand.Text()
	s.access[access] = &t
	answer := map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": max(1, int(s.cfg.AccessLifetime.Seconds())),
		"scope": strings.Join(t.Scopes, " "),
	}
	if !t.login.expires.IsZero() {
		refresh := "refresh-" + rand.Text()
		s.refresh[refresh] = &ticket{Token: t}
		answer["refresh_token"] = refresh
	}
	return answer
}

// revoke is RFC 7009: it ends the login that a token came from.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	c, ok := s.authenticate(r)
	if !ok {
		s.refuse(w, http.StatusUnauthorized, "invalid_client", "")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.access[r.PostFormValue("token")]; t != nil && t.Client == c.ID {
		t.login.ended = true
	}
	if t := s.refresh[r.PostFormValue("token")]; t != nil && t.Client == c.ID {
		t.login.ended = true
	}
	w.WriteHeader(http.StatusOK)
}

// RevokeUser ends every login of a person, as an administrator would.
func (s *Server) RevokeUser(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.access {
		if t.User == user {
			t.login.ended = true
		}
	}
	for _, t := range s.refresh {
		if t.User == user {
			t.login.ended = true
		}
	}
}

// Check returns what an access token stands for, while it is good for a resource.
func (s *Server) Check(access, resource string) (Token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.access[access]
	if t == nil || t.login.ended || t.Resource != resource || time.Now().After(t.Expires) {
		return Token{}, false
	}
	return *t, true
}
