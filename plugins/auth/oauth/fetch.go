package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// errNoDocument reports that a server has no document at a URL: the next place is
// worth a look.
var errNoDocument = errors.New("there is no such document")

// fetch gets a JSON document. It is not oauthex's, because that takes a 429 for
// "not there", goes on to guess endpoints, and refuses private addresses that were
// configured.
func (p *Provider) fetch(ctx context.Context, doing, rawURL string, into any) error {
	fail := func(status int, err error, hint string) error {
		return &EndpointError{Doing: doing, Endpoint: redactURL(rawURL), Status: status, Err: err, Hint: hint}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return fail(0, errors.New("the URL does not parse"), "")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := p.guard.discoveryClient().Do(req)
	if err != nil {
		return fail(0, cause(err), "")
	}
	defer resp.Body.Close()
	body := &limited{ReadCloser: resp.Body, left: maxAnswerBytes}
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		return fail(resp.StatusCode, &auth.ThrottledError{
			RetryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
		}, "")
	case resp.StatusCode >= 500:
		return fail(resp.StatusCode, nil, "the server has a fault of its own")
	default:
		return fail(resp.StatusCode, errNoDocument, "")
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		// Often a web application that answers any path with its front page.
		return fail(resp.StatusCode, errNoDocument, "the answer is not JSON")
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return fail(resp.StatusCode, cause(err), "")
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fail(resp.StatusCode, errors.New("the document is not what it should be"), "")
	}
	return nil
}
