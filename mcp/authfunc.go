package mcpool

import (
	"context"
	"net/http"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

var (
	_ auth.Provider = AuthFunc(nil)
	_ auth.Provider = (*bearer)(nil)
)

// AuthFunc is a function as an auth.Provider. It returns the headers to send for
// an identity, and when they expire if that is known: until then, and as long as
// no server refuses them, the pool uses them without asking again. It may block
// until ctx ends, and runs once at a time for each identity.
type AuthFunc func(ctx context.Context, id auth.Identity) (auth.Credentials, error)

// Credentials calls f.
func (f AuthFunc) Credentials(ctx context.Context, req auth.Request) (auth.Credentials, error) {
	if f == nil {
		return auth.Credentials{}, &auth.ConfigError{Field: "AuthFunc", Problem: "is nil"}
	}
	return f(ctx, req.Identity)
}

// Challenge has f asked again.
func (f AuthFunc) Challenge(_ context.Context, _ auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	if ch.Status == http.StatusUnauthorized {
		return auth.Retry, nil
	}
	return auth.GiveUp, nil // who it was is clear, and another token will not help
}

// Close does nothing.
func (AuthFunc) Close(context.Context) error { return nil }

// TokenFunc is AuthFunc for a function that returns a bearer token.
func TokenFunc(f func(ctx context.Context, id auth.Identity) (auth.Secret, error)) AuthFunc {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, id auth.Identity) (auth.Credentials, error) {
		token, err := f(ctx, id)
		if err != nil {
			return auth.Credentials{}, err
		}
		return bearerCredentials(token), nil
	}
}

// Bearer sends the same bearer token for every identity.
func Bearer(token auth.Secret) auth.Provider { return &bearer{token} }

type bearer struct{ token auth.Secret }

func (b *bearer) Credentials(context.Context, auth.Request) (auth.Credentials, error) {
	if b.token.IsEmpty() {
		return auth.Credentials{}, &auth.ConfigError{Field: "Bearer", Problem: "has an empty token"}
	}
	return bearerCredentials(b.token), nil
}

func (b *bearer) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	return auth.GiveUp, nil
}

func (b *bearer) Close(context.Context) error { return nil }

func bearerCredentials(token auth.Secret) auth.Credentials {
	return auth.Credentials{Header: http.Header{"Authorization": {"Bearer " + token.Reveal()}}}
}
