package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/go-mcpool/mcpool/plugins/auth/sigv4"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
)

const (
	authURL     = "https://mcp.example/mcp"
	authService = "bedrock-agentcore"
	authRegion  = "eu-central-1"
	authToken   = "Bearer a-token-of-usual-length-0123456789-0123456789-0123456789" //nolint:gosec // nobody's

	bytesEach      = "bytes per identity"
	goroutinesEach = "goroutines per identity"
)

// sender opens a RoundTripper in front of a base, and says how long a body is.
type sender struct {
	name string
	body int
	open func(base http.RoundTripper) (http.RoundTripper, func() error, error)
}

// requestCase sends requests one after the other on each goroutine.
func requestCase(name, about string, goroutines int, senders ...sender) benchCase {
	c := benchCase{name: name, about: about, goroutines: goroutines}
	for _, s := range senders {
		c.impls = append(c.impls, impl{name: s.name, open: func() (*fixture, error) {
			rt, done, err := s.open(nowhere{})
			if err != nil {
				return nil, err
			}
			return &fixture{close: done, worker: func(int) func(int) error {
				body := []byte(strings.Repeat("x", s.body))
				return func(n int) error { return send(rt, body, n) }
			}}, nil
		}})
	}
	return c
}

func send(rt http.RoundTripper, body []byte, n int) error {
	for range n {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, authURL, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header["Content-Type"] = contentType
		req.Header["Accept"] = accept
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
	}
	return nil
}

var (
	contentType = []string{"application/json"}
	accept      = []string{"application/json, text/event-stream"}
	answered    = &http.Response{StatusCode: http.StatusOK, Body: http.NoBody} //nolint:gochecknoglobals // nobody changes it
)

// nowhere takes every request that says who it is from.
type nowhere struct{}

func (nowhere) RoundTrip(req *http.Request) (*http.Response, error) {
	if len(req.Header["Authorization"]) != 1 {
		return nil, errors.New("a request without credentials")
	}
	return answered, req.Body.Close()
}

// static is what one writes without a library: a RoundTripper may not change the
// request it is given.
type static struct{ base http.RoundTripper }

func newStatic(base http.RoundTripper) (http.RoundTripper, func() error, error) {
	return static{base}, nil, nil
}

var staticToken = []string{authToken}

func (s static) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.WithContext(req.Context())
	out.Header = req.Header.Clone()
	out.Header["Authorization"] = staticToken
	return s.base.RoundTrip(out)
}

// fixed is a provider whose credentials expire in an hour.
type fixed struct{}

func (fixed) Credentials(_ context.Context, req auth.Request) (auth.Credentials, error) {
	return auth.Credentials{
		Header:  http.Header{"Authorization": {authToken + req.Identity.ID}},
		Expires: time.Now().Add(time.Hour), Generation: "1",
	}, nil
}

func (fixed) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	return auth.GiveUp, nil
}

func (fixed) Close(context.Context) error { return nil }

func authRequest(id string) auth.Request {
	return auth.Request{Identity: auth.Identity{ID: id}, Target: auth.Target{Name: "mcp", URL: authURL}}
}

func newCached(base http.RoundTripper) (http.RoundTripper, func() error, error) {
	cache, err := auth.NewCache(fixed{}, auth.CacheConfig{})
	if err != nil {
		return nil, nil, err
	}
	t, err := authhttp.New(authhttp.Config{Base: base, Provider: cache, Request: authRequest("alice")})
	return t, func() error { return cache.Close(context.Background()) }, err
}

// bareSigner is what one writes with the AWS signer and no library.
type bareSigner struct {
	base   http.RoundTripper
	signer *v4.Signer
	keys   *aws.CredentialsCache
}

func awsKeys() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "a-secret-key-of-forty-characters-0123456", "a-session-token")
}

func newBareSigner(base http.RoundTripper) (http.RoundTripper, func() error, error) {
	return &bareSigner{base: base, signer: v4.NewSigner(), keys: aws.NewCredentialsCache(awsKeys())}, nil, nil
}

func (s *bareSigner) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if err := req.Body.Close(); err != nil {
		return nil, err
	}
	keys, err := s.keys.Retrieve(req.Context())
	if err != nil {
		return nil, err
	}
	out := req.WithContext(req.Context())
	out.Header = req.Header.Clone()
	out.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(body)
	if err := s.signer.SignHTTP(req.Context(), keys, out, hex.EncodeToString(sum[:]), authService, authRegion, time.Now()); err != nil {
		return nil, err
	}
	return s.base.RoundTrip(out)
}

func newSigV4(base http.RoundTripper) (http.RoundTripper, func() error, error) {
	provider, err := sigv4.New(sigv4.Config{Service: authService, Region: authRegion, AWS: &aws.Config{Credentials: awsKeys()}})
	if err != nil {
		return nil, nil, err
	}
	t, err := authhttp.New(authhttp.Config{Base: base, Provider: provider, Request: authRequest("alice")})
	return t, func() error { return provider.Close(context.Background()) }, err
}

// identities measures what a cache keeps for each of n.
func identities(n int) func() (sample, error) {
	return func() (sample, error) {
		cache, err := auth.NewCache(fixed{}, auth.CacheConfig{})
		if err != nil {
			return sample{}, err
		}
		requests := make([]auth.Request, n)
		for i := range requests {
			requests[i] = authRequest(fmt.Sprintf("identity-%06d", i))
		}
		heap := func() float64 {
			runtime.GC()
			runtime.GC() // what the first one only found to be dead
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc)
		}
		before, goroutines := heap(), runtime.NumGoroutine()
		for _, r := range requests {
			if _, err := cache.Credentials(context.Background(), r); err != nil {
				return sample{}, errors.Join(err, cache.Close(context.Background()))
			}
		}
		for waited := time.Duration(0); cache.Stats().Running > 0 && waited < patience; waited += time.Millisecond {
			time.Sleep(time.Millisecond) // the calls that fetched them are about to end
		}
		smp := sample{values: map[string]float64{
			bytesEach:      (heap() - before) / float64(n),
			goroutinesEach: max(0, float64(runtime.NumGoroutine()-goroutines)/float64(n)),
		}}
		if kept := cache.Stats().Keys; kept != n {
			err = fmt.Errorf("the cache keeps %d of %d", kept, n)
		}
		runtime.KeepAlive(requests)
		return smp, errors.Join(err, cache.Close(context.Background()))
	}
}
