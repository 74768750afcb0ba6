package sdk

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// clerk is a provider that answers when it may.
type clerk struct {
	may     chan struct{}
	outcome auth.Outcome
	err     error
	closed  chan struct{}
}

func (c *clerk) Credentials(context.Context, auth.Request) (auth.Credentials, error) {
	<-c.may
	return auth.Credentials{Header: http.Header{"Authorization": {"x"}}}, c.err
}

func (c *clerk) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	<-c.may
	return c.outcome, c.err
}

func (c *clerk) Close(context.Context) error { close(c.closed); return nil }

func serveClerk(t *testing.T) (*clerk, *authServer) {
	t.Helper()
	c := &clerk{may: make(chan struct{}), closed: make(chan struct{})}
	s := &authServer{set: newInstances()}
	if _, err := s.set.open(t.Context(), "a", wire.KindAuth, digestOf(nil, nil), func() (opened, error) {
		return opened{value: auth.Provider(c), close: c.Close}, nil
	}); err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestAnInstanceIsClosedWhenItsCallsHaveEnded(t *testing.T) {
	for name, call := range map[string]func(context.Context, *authServer) error{
		"Credentials": func(ctx context.Context, s *authServer) error {
			_, err := s.Credentials(ctx, &authv1.CredentialsRequest{Instance: "a"})
			return err
		},
		"Challenge": func(ctx context.Context, s *authServer) error {
			_, err := s.Challenge(ctx, &authv1.ChallengeRequest{Instance: "a"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := serveClerk(t)
				called, ended := make(chan error, 1), make(chan error, 1)
				go func() { called <- call(t.Context(), s) }()
				synctest.Wait()
				go func() { ended <- s.set.close(t.Context(), "a") }()
				synctest.Wait()
				select {
				case <-c.closed:
					t.Error("closed under a call")
				default:
				}
				close(c.may)
				<-c.closed
				if err := errors.Join(<-called, <-ended); err != nil {
					t.Error(err)
				}
				if err := call(t.Context(), s); !errors.Is(err, wire.ErrNoInstance) {
					t.Errorf("a call afterwards: %v", err)
				}
			})
		})
	}
}

func TestAnAnswerToAChallengeKeepsItsOutcomeOrItsError(t *testing.T) {
	t.Parallel()
	why := errors.New("why")
	for name, test := range map[string]struct {
		outcome  auth.Outcome
		err      error
		want     authv1.Outcome
		wantLogs bool // that somebody has to log in
	}{
		"retry":                          {auth.Retry, nil, authv1.Outcome_OUTCOME_RETRY, false},
		"give up":                        {auth.GiveUp, nil, authv1.Outcome_OUTCOME_GIVE_UP, false},
		"needs login":                    {auth.NeedsLogin, nil, authv1.Outcome_OUTCOME_NEEDS_LOGIN, false},
		"an error":                       {auth.GiveUp, why, 0, false},
		"an error, with another outcome": {auth.Retry, why, 0, false},
		"needs login, and why":           {auth.NeedsLogin, why, 0, true},
	} {
		c, s := serveClerk(t)
		close(c.may)
		c.outcome, c.err = test.outcome, test.err
		m, err := s.Challenge(t.Context(), &authv1.ChallengeRequest{Instance: "a"})
		if !errors.Is(err, test.err) || m.GetOutcome() != test.want || errors.Is(err, auth.ErrInteractionRequired) != test.wantLogs {
			t.Errorf("%s: %v, %v", name, m.GetOutcome(), err)
		}
		if _, err := s.Credentials(t.Context(), &authv1.CredentialsRequest{Instance: "a"}); !errors.Is(err, test.err) {
			t.Errorf("%s: Credentials: %v", name, err)
		}
	}
}

func TestAnInstanceSaysWhatItCanAndWhatItObserves(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		kind Kind
		want []string
	}{
		"all":     {Auth(func(context.Context, picky) (watchful, error) { return watchful{versatile{Provider: &clerk{}}}, nil }), []string{"sign", "login", "observe"}},
		"nothing": {Auth(func(context.Context, picky) (*clerk, error) { return &clerk{}, nil }), nil},
		"nothing, although it might": {
			Auth(func(context.Context, picky) (maybe, error) { return maybe{&clerk{}}, nil }), nil,
		},
	} {
		o, err := test.kind.impl.open(t.Context(), nil, nil)
		if err != nil || !slices.Equal(o.capabilities, test.want) {
			t.Errorf("%s: %q, want %q; %v", name, o.capabilities, test.want, err)
		}
		if (len(test.want) > 0) != (len(o.observed) == 1) {
			t.Errorf("%s: it observes %q", name, o.observed)
		}
	}
}

type watchful struct{ versatile }

func (watchful) ObservedHeaders() []string { return []string{"X-Seen"} }
