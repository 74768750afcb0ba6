package plugintest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

const token = "tok-4711-very-secret"

// acmeConfig configures acme, the provider of these tests.
type acmeConfig struct {
	Key     auth.Secret `json:"key"`
	Stalled bool        `json:"stalled"`
	Reject  bool        `json:"reject"`
	// Pause is nothing but a duration, which a configuration has as a string.
	Pause time.Duration `json:"pause"`
	// Flaw is what is wrong with it.
	Flaw string `json:"flaw"`
	// release ends what the flawed leave behind, at the end of a test.
	release chan struct{}
}

// acme is a provider that does all it should, but for its flaw.
type acme struct {
	cfg acmeConfig

	mu       sync.Mutex
	inflight []context.CancelFunc // guarded by mu; of the flaw "others"
	nonces   int                  // guarded by mu
	closed   bool                 // guarded by mu
}

func newAcme(_ context.Context, cfg acmeConfig) (auth.Provider, error) {
	if cfg.Key.IsEmpty() {
		if cfg.Flaw == "untyped" {
			return nil, errors.New("there is no key")
		}
		return nil, &auth.ConfigError{Field: "Key", Problem: "is missing"}
	}
	switch a := (&acme{cfg: cfg}); cfg.Flaw {
	case "nil":
		return (*acme)(nil), nil
	case "open":
		return &open{acme: a, Token: cfg.Key.Reveal()}, nil
	default:
		return a, nil
	}
}

// open shows its token to whoever prints it.
type open struct {
	*acme
	Token string
}

func (a *acme) Credentials(ctx context.Context, req auth.Request) (auth.Credentials, error) {
	header := http.Header{"Authorization": {"Bearer " + a.cfg.Key.Reveal()}}
	if a.cfg.Reject {
		return auth.Credentials{}, a.rejection()
	}
	switch a.cfg.Flaw {
	case "undeclared":
		header.Set("X-Acme", "1")
	case "host":
		header.Set("Host", "elsewhere.example")
	case "crlf":
		header.Set("Authorization", "a\r\nX-Evil: 1")
	case "expired":
		return auth.Credentials{Header: header, Expires: time.Now().Add(-time.Hour)}, nil
	case "generation":
		return auth.Credentials{Header: header, Generation: a.cfg.Key.Reveal()}, nil
	case "empty":
		return auth.Credentials{}, nil
	case "panics":
		panic("not here")
	case "writes":
		req.Identity.Attrs["team"] = "blue"
	case "leaks":
		go func() { <-a.cfg.release }()
	case "racy timeout":
		return auth.Credentials{}, context.Canceled
	}
	if !a.cfg.Stalled {
		return auth.Credentials{Header: header}, nil
	}
	switch a.cfg.Flaw {
	case "deaf":
		<-a.cfg.release
		return auth.Credentials{}, ctx.Err()
	case "own words":
		<-ctx.Done()
		return auth.Credentials{}, errors.New("timed out")
	case "others":
		ctx = a.share(ctx)
	}
	<-ctx.Done()
	return auth.Credentials{}, fmt.Errorf("asking: %w", ctx.Err())
}

// share has all callers end with the first.
func (a *acme) share(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	a.mu.Lock()
	a.inflight = append(a.inflight, cancel)
	a.mu.Unlock()
	context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, cancel := range a.inflight {
			cancel()
		}
	})
	return ctx
}

func (a *acme) rejection() error {
	switch a.cfg.Flaw {
	case "untyped":
		return errors.New("wrong key")
	case "shows":
		return fmt.Errorf("the key %s: %w", a.cfg.Key.Reveal(), auth.ErrCredentialsRejected)
	}
	return auth.ErrCredentialsRejected
}

func (a *acme) Challenge(_ context.Context, _ auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	switch a.cfg.Flaw {
	case "outcome":
		return 7, nil
	case "retries":
		return auth.Retry, errors.New("no idea")
	case "nil header":
		ch.Header["X"] = nil
	}
	return auth.GiveUp, nil
}

func (a *acme) Sign(ctx context.Context, _ auth.Request, hr auth.HTTPRequest) (auth.Signature, error) {
	switch a.cfg.Flaw {
	case "adds":
		hr.Header.Set("X-Signed", "1")
	case "query":
		return auth.Signature{RawQuery: "a=b c"}, nil
	}
	return auth.Signature{Header: http.Header{"Authorization": {"sig"}}}, ctx.Err()
}

func (a *acme) ObservedHeaders() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nonces++; a.cfg.Flaw == "fickle" && a.nonces%2 == 0 {
		return []string{"Other"}
	}
	return []string{"Acme-Nonce"}
}

func (a *acme) Observe(auth.Request, auth.Observation) {
	if a.cfg.Flaw == "slow" {
		<-a.cfg.release
	}
}

func (a *acme) Login(ctx context.Context, _ auth.Request, d auth.Dialog) error {
	if err := d.Show(ctx, auth.Prompt{URL: "https://login.example/"}); err != nil && a.cfg.Flaw != "careless" {
		return err
	}
	if a.cfg.Flaw == "careless" {
		return nil
	}
	_, err := d.Callback(ctx, "state")
	return err
}

func (a *acme) Close(context.Context) error {
	switch a.cfg.Flaw {
	case "never ends":
		<-a.cfg.release
	case "closes twice":
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.closed {
			panic("closed already")
		}
		a.closed = true
	}
	return nil
}

func acmeOptions(t *testing.T, flaw string) AuthOptions[acmeConfig] {
	key, release := auth.NewSecret(token), make(chan struct{})
	t.Cleanup(func() { close(release) })
	return AuthOptions[acmeConfig]{
		Config:  acmeConfig{Key: key, Flaw: flaw, release: release},
		Stalled: &acmeConfig{Key: key, Flaw: flaw, release: release, Stalled: true},
		Login:   &acmeConfig{Key: key, Flaw: flaw, release: release},
		Failures: []AuthFailure[acmeConfig]{
			{Name: "no key", Config: acmeConfig{Flaw: flaw, release: release}, Field: "Key"},
			{Name: "rejected", Config: acmeConfig{Key: key, Flaw: flaw, release: release, Reject: true}, Is: auth.ErrCredentialsRejected},
		},
		Request: auth.Request{
			Identity: auth.Identity{ID: "a", Attrs: map[string]string{"team": "red"}},
			Target:   auth.Target{URL: "https://api.example/mcp"},
		},
	}
}

func TestAProviderThatDoesWhatItShouldPasses(t *testing.T) {
	t.Parallel()
	Auth(t, newAcme, acmeOptions(t, ""))
}

// What is not there is skipped, and the least that works passes.
func TestTheLeastThatWorksPasses(t *testing.T) {
	t.Parallel()
	Auth(t, func(context.Context, struct{}) (least, error) { return least{}, nil }, AuthOptions[struct{}]{})
}

type least struct{}

func (least) Credentials(context.Context, auth.Request) (auth.Credentials, error) {
	return auth.Credentials{Header: http.Header{"Authorization": {"Bearer " + token}}}, nil
}

func (least) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	return auth.GiveUp, nil
}

func (least) Close(context.Context) error { return nil }

func TestEveryFlawOfAProviderIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ flaw, check, want string }{
		{"undeclared", "Credentials", `set the header X-Acme, and only ["Authorization"] are declared`},
		{"host", "Credentials", "header Host is not for credentials to set"},
		{"crlf", "Credentials", "header Authorization has a value with a control character"},
		{"expired", "Credentials", "had expired when they came"},
		{"generation", "Credentials", "the generation of Credentials shows a secret"},
		{"panics", "Credentials", "Credentials panicked: not here"},
		{"panics", "Concurrent", "panicked: not here"},
		{"writes", "Credentials", "Credentials changed the request, which is read-only"},
		{"racy timeout", "Credentials", "returned context.Canceled, and its context has not ended"},
		{"nil", "Credentials", "returned neither what it makes nor an error"},
		{"adds", "Sign", "Sign changed the header of the request"},
		{"query", "Sign", "a query that is not escaped"},
		{"outcome", "Challenge", "Outcome(7), which is no outcome"},
		{"retries", "Challenge", "returned Retry with an error"},
		{"nil header", "Challenge", "Challenge changed the header of the answer"},
		{"fickle", "Observe", `ObservedHeaders returned ["Acme-Nonce"], then ["Other"]`},
		{"slow", "Observe", "Observe: it did not return within"},
		{"careless", "Login", "Login succeeded, although nobody could be asked"},
		{"deaf", "Cancellation", "Credentials whose context was cancelled: it did not return within"},
		{"own words", "Cancellation", "whose context was cancelled returned another error: timed out"},
		{"deaf", "Deadline", "Credentials whose deadline passed: it did not return within"},
		{"own words", "Deadline", "whose deadline passed returned another error: timed out"},
		{"others", "Alone", "when one caller's context ended, another caller's Credentials returned: "},
		{"untyped", "Failures", "no key: the error holds no *auth.ConfigError of the field Key: there is no key"},
		{"untyped", "Failures", "rejected: got the error wrong key, want auth: credentials rejected"},
		{"shows", "Failures", "the error of Credentials shows a secret"},
		{"never ends", "Close", "Close: it did not return within"},
		{"closes twice", "Close", "Close panicked: closed already"},
		{"open", "Printing", "a printed provider shows a secret"},
		{"leaks", "Goroutines", "goroutines that the plugin started are still there after Close"},
	} {
		t.Run(tt.flaw+" "+tt.check, func(t *testing.T) {
			t.Parallel()
			opts := acmeOptions(t, tt.flaw)
			opts.lull = lull(tt.check)
			// Whoever does not return never does: how short the patience is decides nothing.
			if strings.HasSuffix(tt.want, "did not return within") || strings.HasSuffix(tt.want, "still there after Close") {
				opts.Patience = never
			}
			rec := record(t, authInProcess(newAcme, opts), tt.check)
			wantFault(t, rec, tt.want)
			if text := rec.text(); tt.flaw == "shows" && strings.Contains(text, token) {
				t.Errorf("the kit shows the secret: %s", text)
			}
		})
	}
}

func TestAConfigurationThatNeverWaitsIsNoStalledOne(t *testing.T) {
	t.Parallel()
	opts := acmeOptions(t, "")
	opts.Stalled = &opts.Config
	wantFault(t, record(t, authInProcess(newAcme, opts), "Cancellation"), "Stalled: Credentials succeeded, and should have to wait")
}

func TestACheckThatHasNothingToGoOnSaysSo(t *testing.T) {
	t.Parallel()
	checks := authInProcess(func(context.Context, struct{}) (least, error) { return least{}, nil }, AuthOptions[struct{}]{})
	for _, name := range []string{"Sign", "Observe", "Login", "Failures", "Alone"} {
		rec := record(t, checks, name)
		if rec.Failed() || !rec.skipped || rec.text() == "" {
			t.Errorf("%s: failed %v, skipped %v, %q", name, rec.Failed(), rec.skipped, rec.text())
		}
	}
}

// lull is long where a flaw shows only if all calls are under way.
func lull(check string) time.Duration {
	if strings.HasSuffix(check, "Alone") {
		return 3 * time.Second
	}
	return 0
}
