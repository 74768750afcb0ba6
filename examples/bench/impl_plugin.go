package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/go-mcpool/mcpool/plugins/auth/sigv4"
	"github.com/go-mcpool/mcpool/plugins/transport/websocket"
	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
	"github.com/go-mcpool/mcpool/sdk/host"
)

// hostedConfig says which provider an instance of the plugin is.
type hostedConfig struct {
	Signs bool `json:"signs"`
	// Unary has signatures made by Credentials, which is an RPC for each.
	Unary bool `json:"unary"`
}

// unarySigner signs where it is asked for credentials.
type unarySigner struct {
	auth.Provider

	what auth.HTTPRequest
}

func (u unarySigner) Credentials(ctx context.Context, req auth.Request) (auth.Credentials, error) {
	s, ok := auth.AsSigner(u.Provider)
	if !ok {
		return auth.Credentials{}, errors.New("it does not sign")
	}
	sig, err := s.Sign(ctx, req, u.what)
	return auth.Credentials{Header: sig.Header}, err
}

// runPlugin makes this program a plugin, if that is what it was started as.
func runPlugin() bool {
	switch {
	case os.Getenv(bareEnv) != "":
		if err := runBare(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		return true
	case os.Getenv("MCPOOL_PLUGIN") != "":
		runHosted()
		return true
	}
	return false
}

// runHosted makes this program the plugin that package host runs.
func runHosted() {
	sdk.Main(sdk.Info{Name: "bench"}, sdk.Auth(func(_ context.Context, cfg hostedConfig) (auth.Provider, error) {
		switch p, err := newSigner(); {
		case cfg.Signs:
			return p, err
		case cfg.Unary:
			return unarySigner{p, toSign()}, err
		}
		return fixed{}, nil
	}, sdk.Headers("Authorization", "X-Amz-*"), sdk.Signs()), sdk.Transport(func(_ context.Context, cfg websocket.Config) (*websocket.Dialer, error) {
		return websocket.New(cfg)
	}))
}

func newSigner() (*sigv4.Provider, error) {
	return sigv4.New(sigv4.Config{Service: authService, Region: authRegion, AWS: &aws.Config{Credentials: awsKeys()}})
}

// ownDigest is the checksum of this program.
func ownDigest(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // this program
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// hosted is this program as a plugin, with its checksum known.
func hosted() (host.Plugin, error) {
	path, err := os.Executable()
	if err != nil {
		return host.Plugin{}, err
	}
	sum, err := ownDigest(path)
	return host.Plugin{Path: path, SHA256: sum, Logger: slog.New(slog.DiscardHandler)}, err
}

// openHosted launches it and opens one instance.
func openHosted(p host.Plugin, cfg hostedConfig) (auth.Provider, func() error, error) {
	r, err := host.Launch(context.Background(), p)
	if err != nil {
		return nil, nil, err
	}
	done := func() error { return r.Close(context.Background()) }
	provider, err := r.Auth(context.Background(), host.Instance{Name: "one", Config: cfg})
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return provider, done, nil
}

// newLeased is newCached with the provider in a binary. It fails if the binary is asked
// more than once: that is what a lease is for.
func newLeased(base http.RoundTripper) (http.RoundTripper, func() error, error) {
	p, err := hosted()
	if err != nil {
		return nil, nil, err
	}
	var asked atomic.Int64
	p.Span = func(ctx context.Context, _, method string) (context.Context, string, func(error)) {
		if method == "Credentials" {
			asked.Add(1)
		}
		return ctx, "", func(error) {}
	}
	provider, done, err := openHosted(p, hostedConfig{})
	if err != nil {
		return nil, nil, err
	}
	cache, err := auth.NewCache(provider, auth.CacheConfig{})
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	t, err := authhttp.New(authhttp.Config{Base: base, Provider: cache, Request: authRequest("alice")})
	return t, func() error {
		var err error
		if n := asked.Load(); n != 1 {
			err = fmt.Errorf("the binary was asked %d times for one credential", n)
		}
		return errors.Join(err, cache.Close(context.Background()), done())
	}, err
}

// toSign is what is signed: a request as an MCP client makes it.
func toSign() auth.HTTPRequest {
	return auth.HTTPRequest{
		Method: http.MethodPost, URL: authURL, Host: "mcp.example", ContentLength: 300,
		Header:     http.Header{"Content-Type": contentType, "Accept": accept, "Mcp-Session-Id": {"0123456789abcdef0123456789abcdef"}},
		BodySHA256: sha256.Sum256([]byte(strings.Repeat("x", 300))),
	}
}

// signFunc makes one signature.
type signFunc func(context.Context) (http.Header, error)

func (f signFunc) once() error {
	h, err := f(context.Background())
	if err == nil && !strings.HasPrefix(h.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		err = fmt.Errorf("no signature in %q", h)
	}
	return err
}

func signsWith(p auth.Provider) (signFunc, error) {
	s, ok := auth.AsSigner(p)
	if !ok {
		return nil, errors.New("it does not sign")
	}
	req, what := authRequest("alice"), toSign()
	return func(ctx context.Context) (http.Header, error) {
		sig, err := s.Sign(ctx, req, what)
		return sig.Header, err
	}, nil
}

// openLocal signs in process.
func openLocal() (signFunc, func() error, error) {
	p, err := newSigner()
	if err != nil {
		return nil, nil, err
	}
	f, err := signsWith(p)
	return f, func() error { return p.Close(context.Background()) }, err
}

// openBinary signs through package host.
func openBinary() (signFunc, func() error, error) {
	p, err := hosted()
	if err != nil {
		return nil, nil, err
	}
	return openBinaryOf(p)
}

func openBinaryOf(p host.Plugin) (signFunc, func() error, error) {
	provider, done, err := openHosted(p, hostedConfig{Signs: true})
	if err != nil {
		return nil, nil, err
	}
	f, err := signsWith(provider)
	return f, done, err
}

// openUnary has package host make an RPC for each signature. What is signed is put together
// in the plugin, so that less crosses than on the stream.
func openUnary() (signFunc, func() error, error) {
	p, err := hosted()
	if err != nil {
		return nil, nil, err
	}
	provider, done, err := openHosted(p, hostedConfig{Unary: true})
	if err != nil {
		return nil, nil, err
	}
	req := authRequest("alice")
	return func(ctx context.Context) (http.Header, error) {
		c, err := provider.Credentials(ctx, req)
		return c.Header, err
	}, done, nil
}

func signers() []impl {
	var ims []impl
	for _, s := range []struct {
		name string
		open func() (signFunc, func() error, error)
	}{{compiledIn, openLocal}, {byBinary, openBinary}, {hostUnary, openUnary}, {byUnary, openBare}} {
		ims = append(ims, impl{name: s.name, open: func() (*fixture, error) {
			sign, done, err := s.open()
			if err != nil {
				return nil, err
			}
			if err := sign.once(); err != nil { // opens streams, loads keys
				return nil, errors.Join(err, done())
			}
			return &fixture{close: done, worker: func(int) func(int) error {
				return func(n int) error {
					for range n {
						if err := sign.once(); err != nil {
							return err
						}
					}
					return nil
				}
			}}, nil
		}})
	}
	return ims
}

// started measures from nothing to the first signature.
func started(open func() (signFunc, func() error, error)) (sample, error) {
	runtime.GC()
	began := time.Now()
	sign, done, err := open()
	if err != nil {
		return sample{}, err
	}
	err = sign.once()
	took := time.Since(began)
	return sample{ns: float64(took)}, errors.Join(err, done())
}

func startLocal() (sample, error) { return started(openLocal) }

func startBare() (sample, error) { return started(openBare) }

// startVerified is the peer that does what package host does first of all.
func startVerified() (sample, error) {
	p, err := hosted()
	if err != nil {
		return sample{}, err
	}
	sum, err := hex.DecodeString(p.SHA256)
	if err != nil {
		return sample{}, err
	}
	return started(openVerified(sum))
}

// startHosted counts the verification of the binary, but not how its checksum was
// found out: that was published with it.
func startHosted() (sample, error) {
	p, err := hosted()
	if err != nil {
		return sample{}, err
	}
	return started(func() (signFunc, func() error, error) { return openBinaryOf(p) })
}

// heapNow is what is in use after a collection.
func heapNow() float64 {
	runtime.GC()
	runtime.GC() // what the first one only found to be dead
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// idle measures what each of n costs that open makes.
func idle(n int, open func(i int) error) (map[string]float64, error) {
	before, goroutines := heapNow(), runtime.NumGoroutine()
	for i := range n {
		if err := open(i); err != nil {
			return nil, err
		}
	}
	return map[string]float64{
		hostBytesEach:  (heapNow() - before) / float64(n),
		hostGoroutines: max(0, float64(runtime.NumGoroutine()-goroutines)/float64(n)),
	}, nil
}

// idlePlugins launches 4 with an instance each, which has signed once.
func idlePlugins() (smp sample, err error) {
	p, err := hosted()
	if err != nil {
		return sample{}, err
	}
	var all []*host.Running
	defer func() {
		for _, r := range all {
			err = errors.Join(err, r.Close(context.Background()))
		}
	}()
	smp.values, err = idle(4, func(int) error {
		r, err := host.Launch(context.Background(), p)
		if err != nil {
			return err
		}
		all = append(all, r)
		return openSigning(r, "one")
	})
	if err != nil {
		return smp, err
	}
	var resident float64
	for _, r := range all {
		resident += residentOf(r.Stats().PID) / float64(len(all))
	}
	smp.values[residentBytes] = resident
	return smp, nil
}

func openSigning(r *host.Running, name string) error {
	provider, err := r.Auth(context.Background(), host.Instance{Name: name, Config: hostedConfig{Signs: true}})
	if err != nil {
		return err
	}
	sign, err := signsWith(provider)
	if err != nil {
		return err
	}
	return sign.once()
}

// idleInstances opens 200 in one plugin.
func idleInstances() (smp sample, err error) {
	p, err := hosted()
	if err != nil {
		return sample{}, err
	}
	r, err := host.Launch(context.Background(), p)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, r.Close(context.Background())) }()
	if err := openSigning(r, "first"); err != nil {
		return sample{}, err
	}
	const n = 200
	before := residentOf(r.Stats().PID)
	smp.values, err = idle(n, func(i int) error { return openSigning(r, fmt.Sprint("instance-", i)) })
	if err == nil {
		smp.values[residentBytes] = max(0, residentOf(r.Stats().PID)-before) / n
	}
	return smp, err
}

// idleLocal makes 200 in process.
func idleLocal() (smp sample, err error) {
	var all []*sigv4.Provider
	defer func() {
		for _, p := range all {
			err = errors.Join(err, p.Close(context.Background()))
		}
	}()
	smp.values, err = idle(200, func(int) error {
		p, err := newSigner()
		if err != nil {
			return err
		}
		all = append(all, p)
		sign, err := signsWith(p)
		if err != nil {
			return err
		}
		return sign.once()
	})
	return smp, err
}

// residentOf is what a process occupies, where the system tells it like that; else 0.
func residentOf(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return float64(resident * int64(os.Getpagesize()))
}
