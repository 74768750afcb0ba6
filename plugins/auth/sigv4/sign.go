package sigv4

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Sign signs one attempt, dated by the target's clock as far as it is known.
func (p *Provider) Sign(ctx context.Context, req auth.Request, hr auth.HTTPRequest) (auth.Signature, error) {
	held, err := p.keys.Credentials(ctx, p.keyRequest(req))
	if err != nil {
		return auth.Signature{}, fmt.Errorf("sigv4: %w", err)
	}
	keys := held.Header[keyHeader]
	r, err := p.cfg.toSign(hr)
	if err != nil {
		return auth.Signature{}, fmt.Errorf("sigv4: %s %s: %w", hr.Method, req.Target, err)
	}
	offset, clock := p.clocks.read(req.Target.URL)
	sum := hex.EncodeToString(hr.BodySHA256[:])
	if p.cfg.SignContentSHA256 {
		r.Header["X-Amz-Content-Sha256"] = []string{sum}
	}
	err = p.signer.SignHTTP(ctx, aws.Credentials{AccessKeyID: keys[0], SecretAccessKey: keys[1], SessionToken: keys[2]},
		r, sum, p.cfg.Service, p.cfg.Region, p.now().Add(offset))
	if err != nil {
		return auth.Signature{}, fmt.Errorf("sigv4: %s %s: %w", hr.Method, req.Target, err)
	}
	// What was signed besides is on the request already.
	maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return !slices.Contains(signature, name) })
	return auth.Signature{Header: r.Header, RawQuery: r.URL.RawQuery, Generation: p.name(held.Generation, clock)}, nil
}

// signature are the headers that make it up, two of them not always.
var signature = []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"}

// toSign makes the request that the signer sees: the path in the form that is to be
// signed, and only the headers that may be.
func (cfg *Config) toSign(hr auth.HTTPRequest) (*http.Request, error) {
	path, query, err := splitURL(hr.URL)
	if err != nil {
		return nil, err
	}
	// The signer drops what it cannot parse, and what it drops would not be sent.
	if !parsable(query) || query != "" && strings.Trim(query, "&") == "" {
		return nil, errors.New("its query cannot be signed: it holds a semicolon or a broken escape, or nothing")
	}
	host := hr.Host
	if host == "" {
		host = hostOf(hr.URL)
	}
	// Opaque, because the signer then takes the path as it is. Of the host in it, it
	// takes no notice.
	scheme, opaque, _ := strings.Cut(hr.URL, ":")
	opaque, _, _ = strings.Cut(opaque, "#")
	opaque, _, _ = strings.Cut(opaque, "?")
	if canonical := cfg.canonicalPath(path); canonical != path || !strings.HasSuffix(opaque, path) {
		opaque = "//" + host + canonical
	}
	both := new(struct {
		http.Request
		url url.URL
	})
	r := &both.Request
	r.Method, r.Host, r.ContentLength, r.Header, r.URL = hr.Method, host, hr.ContentLength, make(http.Header, 8), &both.url
	both.url.Scheme, both.url.Host, both.url.Opaque, both.url.RawQuery = scheme, host, opaque, query
	for name, values := range hr.Header {
		name = http.CanonicalHeaderKey(name)
		// What came in under the names that are ours to set is replaced when it is sent.
		if cfg.signs(name) && !slices.Contains(signature, name) {
			r.Header[name] = values
		}
	}
	return r, nil
}
