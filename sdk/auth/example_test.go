package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// tokens is the least that a vendor writes.
type tokens struct{ issued int }

func (t *tokens) Credentials(context.Context, auth.Request) (auth.Credentials, error) {
	t.issued++
	return auth.Credentials{
		Header:     http.Header{"Authorization": {fmt.Sprintf("Bearer token-%d", t.issued)}},
		Expires:    time.Now().Add(time.Hour),
		Generation: fmt.Sprint(t.issued),
	}, nil
}

func (t *tokens) Challenge(_ context.Context, _ auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	if ch.Status == http.StatusUnauthorized {
		return auth.Retry, nil
	}
	return auth.GiveUp, nil
}

func (t *tokens) Close(context.Context) error { return nil }

func ExampleNewCache() {
	ctx := context.Background()
	cache, err := auth.NewCache(&tokens{}, auth.CacheConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close(ctx)

	req := auth.Request{Identity: auth.Identity{ID: "alice"}, Target: auth.Target{URL: "https://tools.example/mcp"}}
	for range 3 { // one token for all
		creds, err := cache.Credentials(ctx, req)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(creds.Header.Get("Authorization"))
	}

	// The target refuses it: the cache fetches another.
	outcome, err := cache.Challenge(ctx, req, auth.Challenge{Status: http.StatusUnauthorized, Generation: "1"})
	fmt.Println(outcome, err)
	creds, err := cache.Credentials(ctx, req)
	fmt.Println(creds.Header.Get("Authorization"), err)
	// Output:
	// Bearer token-1
	// Bearer token-1
	// Bearer token-1
	// Retry <nil>
	// Bearer token-2 <nil>
}

func ExampleSecret() {
	s := auth.NewSecret("hunter2")
	fmt.Printf("%v %+v %#v %q\n", s, struct{ Password auth.Secret }{s}, s, s)
	fmt.Println(s.Reveal(), s.Equal(auth.NewSecret("hunter2")))
	// Output:
	// [redacted] {Password:[redacted]} [redacted] [redacted]
	// hunter2 true
}

func ExampleAsSigner() {
	cache, err := auth.NewCache(&tokens{}, auth.CacheConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close(context.Background())
	_, signs := auth.AsSigner(cache)
	fmt.Println(signs)
	// Output: false
}
