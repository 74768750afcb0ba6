package sigv4

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
	sig := auth.Signature{
		Header: make(http.Header, 4), RawQuery: r.URL.RawQuery, Generation: "keys:" + held.Generation + "/" + clock,
	}
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"} {
		if v := r.Header[name]; len(v) > 0 {
			sig.Header[name] = v
		}
	}
	return sig, nil
}

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
	r := &http.Request{
		Method: hr.Method, Host: host, ContentLength: hr.ContentLength,
		// Opaque, because the signer then takes the path as it is.
		URL:    &url.URL{Scheme: "https", Host: host, Opaque: "//" + host + cfg.canonicalPath(path), RawQuery: query},
		Header: make(http.Header, 8),
	}
	if strings.HasPrefix(hr.URL, "http:") {
		r.URL.Scheme = "http"
	}
	for name, values := range hr.Header {
		name = http.CanonicalHeaderKey(name)
		if cfg.signs(name) {
			r.Header[name] = values
		}
	}
	// Ours to set; what came in under these names is replaced when it is sent.
	delete(r.Header, "X-Amz-Date")
	delete(r.Header, "X-Amz-Security-Token")
	delete(r.Header, "X-Amz-Content-Sha256")
	return r, nil
}
