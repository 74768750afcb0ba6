package authserver

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	deviceGrant  = "urn:ietf:params:oauth:grant-type:device_code"
	codeLifetime = 2 * time.Minute
	pollInterval = 1 // seconds
)

// grant is a login under way: what was asked for, and who it is, once that is known.
type grant struct {
	client    string
	redirect  string
	challenge string // PKCE
	resource  string
	scopes    []string
	user      string // empty until somebody consented
	userCode  string // of a device
	denied    bool
	expires   time.Time
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<title>mcpool example</title>
<style>body{font:16px system-ui;max-width:32em;margin:4em auto}input,button{font:inherit;padding:.3em}</style>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{if .Action}}<form method="post" action="{{.Action}}">
{{range $name, $value := .Hidden}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}{{if .AskCode}}<p><label>Code <input name="user_code" value="{{.Code}}" autocomplete="off"></label></p>
{{end}}<p><label>Your name <input name="user" value="{{.User}}" autofocus></label></p>
<button name="decision" value="allow">Log in and allow</button> <button name="decision" value="deny">Refuse</button>
</form>{{end}}
`))

type pageData struct {
	Title, Text, Action, User, Code string
	AskCode                         bool
	Hidden                          map[string]string
}

func show(w http.ResponseWriter, status int, d pageData) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = page.Execute(w, d) // who left does not read it
}

// authorize is where the browser comes with the application's request.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	g, code := s.readRequest(q)
	switch {
	case g == nil: // an error must not be redirected to who knows where
		show(w, http.StatusBadRequest, pageData{Title: "This cannot work", Text: "Unknown application or redirect URI."})
	case code != "":
		s.redirect(w, r, q, url.Values{"error": {code}})
	default:
		hidden := make(map[string]string)
		for name := range q {
			hidden[name] = q.Get(name)
		}
		show(w, http.StatusOK, pageData{
			Title: "Log in", Action: "/authorize", Hidden: hidden, User: q.Get("login_hint"),
			Text: "An application wants to call " + g.resource + " for you (" + strings.Join(g.scopes, ", ") + ").",
		})
	}
}

// consent is where the form goes.
func (s *Server) consent(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		show(w, http.StatusBadRequest, pageData{Title: "This cannot work", Text: "The form cannot be read."})
		return
	}
	g, code := s.readRequest(r.PostForm)
	user := strings.TrimSpace(r.PostFormValue("user"))
	switch {
	case g == nil:
		show(w, http.StatusBadRequest, pageData{Title: "This cannot work", Text: "Unknown application or redirect URI."})
		return
	case code == "" && (r.PostFormValue("decision") != "allow" || user == ""):
		code = "access_denied"
	}
	if code != "" {
		s.redirect(w, r, r.PostForm, url.Values{"error": {code}})
		return
	}
	g.user, g.expires = user, time.Now().Add(codeLifetime)
	authCode := rand.Text()
	s.mu.Lock()
	s.codes[authCode] = g
	s.mu.Unlock()
	s.redirect(w, r, r.PostForm, url.Values{"code": {authCode}})
}

// readRequest returns no grant where not even the redirect URI is to be trusted,
// else the OAuth error code of what is wrong.
func (s *Server) readRequest(q url.Values) (g *grant, code string) {
	s.mu.Lock()
	c, known := s.clients[q.Get("client_id")]
	s.mu.Unlock()
	redirect := q.Get("redirect_uri")
	if !known || !slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return sameRedirect(uri, redirect) }) {
		return nil, ""
	}
	g = &grant{
		client: c.ID, redirect: redirect, challenge: q.Get("code_challenge"), resource: q.Get("resource"),
		scopes: s.allowed(strings.Fields(q.Get("scope"))),
	}
	switch {
	case q.Get("response_type") != "code":
		return g, "unsupported_response_type"
	case g.challenge == "" || q.Get("code_challenge_method") != "S256":
		return g, "invalid_request"
	case g.resource == "":
		return g, "invalid_target"
	case len(g.scopes) == 0:
		return g, "invalid_scope"
	}
	return g, ""
}

// sameRedirect compares exactly, but for the port of a loopback address, which an
// application cannot know beforehand (RFC 8252, 7.3).
func sameRedirect(registered, asked string) bool {
	a, err := url.Parse(registered)
	if err != nil {
		return false
	}
	b, err := url.Parse(asked)
	if err != nil {
		return false
	}
	if a.Scheme == "http" && isLoopback(a.Hostname()) && a.Hostname() == b.Hostname() {
		a.Host, b.Host = "", ""
	}
	return a.String() == b.String()
}

func (s *Server) redirect(w http.ResponseWriter, r *http.Request, asked, answer url.Values) {
	u, err := url.Parse(asked.Get("redirect_uri"))
	if err != nil {
		show(w, http.StatusBadRequest, pageData{Title: "This cannot work", Text: "Unknown redirect URI."})
		return
	}
	answer.Set("iss", s.issuer) // RFC 9207
	answer.Set("state", asked.Get("state"))
	q := u.Query()
	for name := range answer {
		q.Set(name, answer.Get(name))
	}
	u.RawQuery = q.Encode()
	http.Redirect(w, r, u.String(), http.StatusSeeOther) //nolint:gosec // readRequest knows it as the client's
}

// proves reports whether a verifier is that of a PKCE challenge.
func (g *grant) proves(verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	want := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(want), []byte(g.challenge)) == 1
}

// device begins a login without a redirect (RFC 8628).
func (s *Server) device(w http.ResponseWriter, r *http.Request) {
	c, ok := s.authenticate(r)
	if !ok {
		s.refuse(w, http.StatusUnauthorized, "invalid_client", "")
		return
	}
	g := &grant{
		client: c.ID, resource: r.PostFormValue("resource"), scopes: s.allowed(strings.Fields(r.PostFormValue("scope"))),
		userCode: rand.Text()[:4] + "-" + rand.Text()[:4], expires: time.Now().Add(codeLifetime),
	}
	switch {
	case g.resource == "":
		s.refuse(w, http.StatusBadRequest, "invalid_target", "resource is missing")
		return
	case len(g.scopes) == 0:
		s.refuse(w, http.StatusBadRequest, "invalid_scope", "")
		return
	}
	code := rand.Text()
	s.mu.Lock()
	s.devices[code] = g
	s.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": g.userCode, "verification_uri": s.issuer + "/activate",
		"verification_uri_complete": s.issuer + "/activate?user_code=" + g.userCode,
		"expires_in":                int(codeLifetime.Seconds()), "interval": pollInterval,
	})
}

func (s *Server) activate(w http.ResponseWriter, r *http.Request) {
	show(w, http.StatusOK, pageData{
		Title: "Log in on another device", Text: "Type the code that it shows.", Action: "/activate", AskCode: true,
		Code: r.URL.Query().Get("user_code"),
	})
}

func (s *Server) activated(w http.ResponseWriter, r *http.Request) {
	code := strings.ToUpper(strings.TrimSpace(r.PostFormValue("user_code")))
	user := strings.TrimSpace(r.PostFormValue("user"))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.devices {
		if g.userCode == code && g.user == "" && !g.denied && time.Now().Before(g.expires) {
			g.user, g.denied = user, user == "" || r.PostFormValue("decision") != "allow"
			show(w, http.StatusOK, pageData{Title: "Done", Text: "You can go back to the device."})
			return
		}
	}
	show(w, http.StatusBadRequest, pageData{Title: "This cannot work", Text: "No device waits with this code."})
}
