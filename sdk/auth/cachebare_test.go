package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// refuse401 has the current credentials refused, and returns the outcome.
func refuse401(t *testing.T, c *Cache, sent http.Header) (Outcome, error) {
	t.Helper()
	creds := get(t, c, request("a"))
	return c.Challenge(t.Context(), request("a"), Challenge{
		Status: 401, Generation: creds.Generation, Sent: HTTPRequest{Header: sent},
	})
}

func TestCacheDoesNotCountTheFirstTokenAfterNoneAsARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{credentials: func(_ context.Context, _ Request, n int64) (Credentials, error) {
			if n == 1 {
				return Credentials{Generation: "anonymous"}, nil
			}
			return Credentials{Header: bearer(fmt.Sprint(n)), Generation: fmt.Sprint(n)}, nil
		}}
		c := newCache(t, p, CacheConfig{})
		for i, want := range []Outcome{Retry, Retry, Retry, GiveUp} { // to the first token, and two refreshes are free
			o, err := refuse401(t, c, nil)
			if o != want {
				t.Errorf("refusal %d: %v, %v, want %v", i+1, o, err, want)
			}
		}
	})
}

func TestCacheSlowsDownForAProviderThatGoesOnHavingNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{credentials: func(context.Context, Request, int64) (Credentials, error) {
			return Credentials{Generation: "anonymous"}, nil
		}}
		c := newCache(t, p, CacheConfig{BackoffMin: time.Second, BackoffMax: 10 * time.Second})
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(50 * time.Millisecond) {
			if o, err := refuse401(t, c, nil); o == GiveUp && !errors.As(err, new(*BackoffError)) {
				t.Fatalf("%v, %v", o, err)
			}
		}
		if n := p.challenges.Load(); n > 70 {
			t.Errorf("%d challenges in ten minutes", n)
		}
	})
}

func TestCacheCountsARefusedSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &signing{fake: fake{credentials: func(_ context.Context, _ Request, n int64) (Credentials, error) {
			return Credentials{Generation: fmt.Sprint(n)}, nil // the signature is all there is
		}}}
		c := newCache(t, p, CacheConfig{})
		for i, want := range []Outcome{Retry, Retry, GiveUp} {
			if o, err := refuse401(t, c, bearer("a signature")); o != want {
				t.Errorf("refusal %d: %v, %v, want %v", i+1, o, err, want)
			}
		}
	})
}

func TestCacheKeepsCredentialsThatOnlyLackANonce(t *testing.T) {
	p := &fake{}
	c := newCache(t, p, CacheConfig{})
	creds := get(t, c, request("a"))
	for i := range 20 {
		ch := Challenge{Status: 401, Generation: creds.Generation, Header: http.Header{
			"Www-Authenticate": {`DPoP error="use_dpop_nonce"`}, "Dpop-Nonce": {fmt.Sprint(i)},
		}}
		if o, err := c.Challenge(t.Context(), request("a"), ch); o != Retry || err != nil {
			t.Fatalf("nonce %d: %v, %v", i, o, err)
		}
	}
	if p.calls.Load() != 1 || get(t, c, request("a")).Generation != creds.Generation || p.challenges.Load() != 20 {
		t.Errorf("%d fetches, %d challenges", p.calls.Load(), p.challenges.Load())
	}
	if o, err := refuse401(t, c, nil); o != Retry || err != nil {
		t.Errorf("a refusal of the token itself: %v, %v", o, err)
	}
}

func TestAReasonIsWhatTheHeadersSay(t *testing.T) {
	for _, tt := range []struct {
		status       int
		asked, nonce string
		want         Reason
	}{
		{401, "", "", Refused},
		{401, `Bearer error="invalid_token"`, "n", Refused},
		{401, `DPoP error="use_dpop_nonce"`, "n", NonceWanted},
		{403, `DPoP error="use_dpop_nonce"`, "n", NonceWanted},
		{401, `DPoP error="use_dpop_nonce"`, "", Refused}, // nothing to put into a proof
		{403, `Bearer error="insufficient_scope", scope="a"`, "", ScopeWanted},
		{401, `Bearer error="insufficient_scope", scope="a"`, "", Refused},
	} {
		ch := Challenge{Status: tt.status, Header: http.Header{}}
		ch.Header.Set("WWW-Authenticate", tt.asked)
		ch.Header.Set("DPoP-Nonce", tt.nonce)
		if got := ch.Reason(); got != tt.want {
			t.Errorf("%d %q %q: %v, want %v", tt.status, tt.asked, tt.nonce, got, tt.want)
		}
	}
}
