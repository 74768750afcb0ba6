package authserver

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Config says how the server behaves. The zero value is a server without clients,
// with lifetimes as they are in practice.
type Config struct {
	// Addr is where to listen. Default: 127.0.0.1:0.
	Addr string
	// AccessLifetime is that of access tokens. Default: 1 h.
	AccessLifetime time.Duration
	// LoginLifetime is that of logins: how long refresh tokens go on. Default: 24 h.
	LoginLifetime time.Duration
	// Scopes exist. Default: mcp:read, mcp:write.
	Scopes []string
	// Clients are known beforehand. Others may register themselves.
	Clients []Client
}

// Client is an application.
type Client struct {
	ID           string
	Secret       string // empty for a public one, which may do no more than log people in
	RedirectURIs []string
}

// Stats is what the server has done so far.
type Stats struct {
	Registrations int `json:"registrations"`
	Logins        int `json:"logins"`
	Machine       int `json:"machine_tokens"` // client credentials
	Refreshes     int `json:"refreshes"`
	Reused        int `json:"reused"` // refresh tokens that came a second time
	Refused       int `json:"refused"`
}

// Server is an authorization server that runs.
type Server struct {
	// Immutable after creation.
	cfg    Config
	issuer string
	http   *http.Server
	served chan error

	mu      sync.Mutex
	clients map[string]Client
	codes   map[string]*grant  // by authorization code
	devices map[string]*grant  // by device code
	access  map[string]*Token  // by access token
	refresh map[string]*ticket // by refresh token
	stats   Stats
}

// Start returns a server that listens.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.AccessLifetime == 0 {
		cfg.AccessLifetime = time.Hour
	}
	if cfg.LoginLifetime == 0 {
		cfg.LoginLifetime = 24 * time.Hour
	}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"mcp:read", "mcp:write"}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("authserver: %w", err)
	}
	s := &Server{
		cfg: cfg, issuer: "http://" + l.Addr().String(), served: make(chan error, 1),
		clients: make(map[string]Client), codes: make(map[string]*grant), devices: make(map[string]*grant),
		access: make(map[string]*Token), refresh: make(map[string]*ticket),
	}
	for _, c := range cfg.Clients {
		s.clients[c.ID] = c
	}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() { s.served <- s.http.Serve(l) }()
	return s, nil
}

// Issuer is the server's name and address.
func (s *Server) Issuer() string { return s.issuer }

// Stats returns a snapshot.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close ends the server at once.
func (s *Server) Close() error {
	err := s.http.Close()
	if serve := <-s.served; !errors.Is(serve, http.ErrServerClosed) {
		err = errors.Join(err, serve)
	}
	return err
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("POST /register", s.register)
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /authorize", s.consent)
	mux.HandleFunc("POST /device", s.device)
	mux.HandleFunc("GET /activate", s.activate)
	mux.HandleFunc("POST /activate", s.activated)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /revoke", s.revoke)
	return http.MaxBytesHandler(mux, 64<<10)
}

func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"issuer":                                         s.issuer,
		"authorization_endpoint":                         s.issuer + "/authorize",
		"token_endpoint":                                 s.issuer + "/token",
		"registration_endpoint":                          s.issuer + "/register",
		"revocation_endpoint":                            s.issuer + "/revoke",
		"device_authorization_endpoint":                  s.issuer + "/device",
		"scopes_supported":                               s.cfg.Scopes,
		"response_types_supported":                       []string{"code"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token", "client_credentials", deviceGrant},
		"token_endpoint_auth_methods_supported":          []string{"none", "client_secret_basic", "client_secret_post"},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	})
}

// register is RFC 7591, for public clients with redirects to loopback.
func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		RedirectURIs []string `json:"redirect_uris"`
		Name         string   `json:"client_name"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		s.refuse(w, http.StatusBadRequest, "invalid_client_metadata", "it is not JSON")
		return
	}
	for _, raw := range ask.RedirectURIs {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) || u.Fragment != "" {
			s.refuse(w, http.StatusBadRequest, "invalid_redirect_uri", "this server redirects to loopback only")
			return
		}
	}
	c := Client{ID: "client-" + rand.Text(), RedirectURIs: ask.RedirectURIs}
	s.mu.Lock()
	s.clients[c.ID] = c
	s.stats.Registrations++
	s.mu.Unlock()
	reply(w, http.StatusCreated, map[string]any{
		"client_id": c.ID, "client_name": ask.Name, "redirect_uris": c.RedirectURIs, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token", deviceGrant}, "response_types": []string{"code"},
	})
}

// authenticate returns the client that sends a request to an endpoint for clients.
func (s *Server) authenticate(r *http.Request) (Client, bool) {
	id, secret, basic := r.BasicAuth()
	if basic { // RFC 6749, 2.3.1: encoded as in a form
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if err1 != nil || err2 != nil {
			return Client{}, false
		}
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[id]
	return c, ok && subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) == 1
}

// refuse answers with an OAuth error (RFC 6749, 5.2).
func (s *Server) refuse(w http.ResponseWriter, status int, code, description string) {
	s.mu.Lock()
	s.stats.Refused++
	s.mu.Unlock()
	reply(w, status, map[string]any{"error": code, "error_description": description})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // who left does not read it
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// allowed returns the scopes that exist of those asked for; all if none were named.
func (s *Server) allowed(asked []string) []string {
	if len(asked) == 0 {
		return s.cfg.Scopes
	}
	return slices.DeleteFunc(slices.Clone(asked), func(x string) bool { return !slices.Contains(s.cfg.Scopes, x) })
}
