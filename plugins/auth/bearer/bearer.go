package bearer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

var _ auth.Provider = (*Provider)(nil)

// Config says where the token comes from. Exactly one of Token, File and Command
// is set. Package sdk/config reads it from JSON, under the names in the tags.
type Config struct {
	// Token is the token itself.
	Token auth.Secret `json:"token"`
	// File is the path of a file that holds the token.
	File string `json:"file"`
	// Command prints the token.
	Command Command `json:"command"`
	// Header is the header to send it in; default Authorization.
	Header string `json:"header"`
	// Scheme comes before the token, with a space; default "Bearer" for the
	// Authorization header and nothing for others. "-" means nothing.
	Scheme string `json:"scheme"`
	// Warn is told of what is unwise but works, nil for nobody. It is called at most
	// once, by New or Credentials, in their goroutine, while others wait for it.
	Warn func(message string) `json:"-"`
}

// Command is a program that prints a token.
type Command struct {
	// Args are the program and its arguments. There is no shell. A program without a
	// slash is looked for in PATH, once, by New.
	Args []string `json:"args"`
	// Env is its whole environment as name=value; nil inherits this process's.
	Env []string `json:"env"`
	// Dir is where it runs; default this process's directory.
	Dir string `json:"dir"`
	// Timeout bounds one run; then the program is killed. Default 30 s.
	Timeout time.Duration `json:"timeout"`
	// TTL is how long a token is used that comes without an expiry; default 5 min; -1
	// means until the target refuses it.
	TTL time.Duration `json:"ttl"`
}

const (
	maxToken  = 64 << 10
	fileCheck = 10 * time.Second // how long a cache may go without looking at the file
)

// Provider sends a token.
type Provider struct {
	cfg    Config // immutable after creation
	ctx    context.Context
	cancel context.CancelFunc // ends the commands that run

	mu         sync.Mutex
	closed     bool           // guarded by mu
	running    sync.WaitGroup // Add only under mu while not closed
	last       auth.Secret    // guarded by mu; the token last seen
	generation int            // guarded by mu; counts different tokens

	reading sync.Mutex // held while the file is looked at; taken before mu
	stamp   fileStamp  // guarded by reading; of the file that was read last
	warned  bool       // guarded by reading
}

// New returns a Provider. It reads a file once, so that one that cannot be read is
// noticed, and does not run a command.
func New(cfg Config) (*Provider, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if cfg.File != "" {
		if _, _, err := p.fromFile(); err != nil {
			return nil, &auth.ConfigError{Field: "File", Problem: "cannot be used", Err: err}
		}
	}
	return p, nil
}

func (cfg *Config) setDefaults() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &auth.ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	sources := 0
	if !cfg.Token.IsEmpty() {
		sources++
		if err := checkToken(cfg.Token.Reveal()); err != nil {
			bad("Token", "%v", err)
		}
	}
	if cfg.File != "" {
		sources++
	}
	if c := &cfg.Command; c.set() {
		sources++
		errs = append(errs, c.setDefaults()...)
	}
	if sources != 1 {
		bad("Token, File or Command", "must be set, exactly one of them; %d are", sources)
	}
	if cfg.Header == "" {
		cfg.Header = "Authorization"
	}
	cfg.Header = http.CanonicalHeaderKey(cfg.Header)
	if err := auth.CheckHeader(http.Header{cfg.Header: {cfg.Scheme}}); err != nil {
		bad("Header or Scheme", "cannot be sent: %v", err)
	}
	switch {
	case cfg.Scheme == "-":
		cfg.Scheme = ""
	case cfg.Scheme == "" && cfg.Header == "Authorization":
		cfg.Scheme = "Bearer"
	}
	if cfg.Warn == nil {
		cfg.Warn = func(string) {}
	}
	return errors.Join(errs...)
}

// Credentials returns the token: the one in the configuration, what the file holds
// now, or what the command prints.
func (p *Provider) Credentials(ctx context.Context, _ auth.Request) (auth.Credentials, error) {
	if err := p.begin(); err != nil {
		return auth.Credentials{}, err
	}
	defer p.running.Done()
	switch {
	case p.cfg.File != "":
		token, generation, err := p.fromFile()
		if err != nil {
			return auth.Credentials{}, fmt.Errorf("bearer: %w", err)
		}
		return p.credentials(token, generation, time.Time{}, time.Now().Add(fileCheck)), nil
	case p.cfg.Command.set():
		token, expires, err := p.run(ctx)
		if err != nil {
			return auth.Credentials{}, fmt.Errorf("bearer: %w", err)
		}
		return p.credentials(token, p.see(token), expires, time.Time{}), nil
	default:
		return p.credentials(p.cfg.Token, 1, time.Time{}, time.Time{}), nil
	}
}

// Challenge says Retry where another token may be had: from a command always, from
// a file if it has changed, otherwise not. A 403 is about what the token may do,
// and another one from the same source may do no more: the answer stands.
func (p *Provider) Challenge(_ context.Context, _ auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	if err := p.begin(); err != nil {
		return auth.GiveUp, err
	}
	defer p.running.Done()
	if ch.Status != http.StatusUnauthorized {
		return auth.GiveUp, nil
	}
	switch {
	case p.cfg.Command.set():
		return auth.Retry, nil
	case p.cfg.File != "":
		_, generation, err := p.fromFile()
		if err != nil {
			return auth.GiveUp, fmt.Errorf("bearer: %w", err)
		}
		if ch.Generation != fmt.Sprintf("token-%d", generation) {
			return auth.Retry, nil
		}
	}
	return auth.GiveUp, nil
}

// Close ends the commands that run and forgets the token.
func (p *Provider) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	done := make(chan struct{})
	go func() { p.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("bearer: closing while the command still runs: %w", ctx.Err())
	}
	p.mu.Lock()
	p.last = auth.Secret{}
	p.mu.Unlock()
	return nil
}

// String says where the token comes from.
func (p *Provider) String() string {
	switch {
	case p.cfg.File != "":
		return fmt.Sprintf("bearer token from %s", p.cfg.File)
	case p.cfg.Command.set():
		return fmt.Sprintf("bearer token from the command %s", p.cfg.Command.Args[0])
	default:
		return "static bearer token"
	}
}

// Format writes String for every verb.
func (p *Provider) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// LogValue is String.
func (p *Provider) LogValue() slog.Value { return slog.StringValue(p.String()) }

func (p *Provider) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("bearer: %w", auth.ErrClosed)
	}
	p.running.Add(1)
	return nil
}

// see numbers a token: the same one has the same generation.
func (p *Provider) see(token auth.Secret) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.generation == 0 || !p.last.Equal(token) {
		p.last = token
		p.generation++
	}
	return p.generation
}

func (p *Provider) credentials(token auth.Secret, generation int, expires, refresh time.Time) auth.Credentials {
	value := token.Reveal()
	if p.cfg.Scheme != "" {
		value = p.cfg.Scheme + " " + value
	}
	return auth.Credentials{
		Header: http.Header{p.cfg.Header: {value}}, Expires: expires, RefreshAfter: refresh,
		Generation: fmt.Sprintf("token-%d", generation),
	}
}

// checkToken refuses what cannot be, or was not meant to be, a token. It does not
// show it.
func checkToken(token string) error {
	switch {
	case token == "":
		return errors.New("is empty")
	case len(token) > maxToken:
		return fmt.Errorf("is longer than %d bytes", maxToken)
	case slices.ContainsFunc([]byte(token), func(c byte) bool { return c <= ' ' || c >= 0x7f }):
		return errors.New("holds white space or other characters that a token cannot have")
	}
	return nil
}

// trim drops the white space around a token, and a byte order mark.
func trim(data []byte) string {
	return strings.TrimSpace(strings.TrimPrefix(string(data), "\ufeff"))
}
