package oauth

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// person logs in as people do: by following redirects and submitting the forms that
// oidc-provider shows.
type person struct {
	name   string
	client *http.Client
}

func newPerson(name string) *person {
	jar, _ := cookiejar.New(nil) // never fails
	return &person{name: name, client: &http.Client{Jar: jar, Transport: testClient.Transport}}
}

var (
	formPattern  = regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>`)
	inputPattern = regexp.MustCompile(`(?s)<input([^>]*)>`)
	namePattern  = regexp.MustCompile(`name="([^"]*)"`)
	valuePattern = regexp.MustCompile(`value="([^"]*)"`)
)

// browse opens a URL and submits forms until there are none. It returns the last
// page.
func (p *person) browse(ctx context.Context, rawURL string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return "", err
	}
	for range 10 {
		resp, err := p.client.Do(req)
		if err != nil {
			return "", err
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return "", err
		}
		if resp.StatusCode >= 400 {
			return "", fmt.Errorf("%s: %s\n%s", resp.Request.URL, resp.Status, data)
		}
		form := formPattern.FindSubmatch(data)
		if form == nil {
			return string(data), nil
		}
		action, err := resp.Request.URL.Parse(html.UnescapeString(string(form[1])))
		if err != nil {
			return "", err
		}
		values := url.Values{}
		for _, input := range inputPattern.FindAllSubmatch(form[2], -1) {
			name, value := namePattern.FindSubmatch(input[1]), valuePattern.FindSubmatch(input[1])
			if name == nil {
				continue
			}
			v := ""
			if value != nil {
				v = html.UnescapeString(string(value[1]))
			}
			switch string(name[1]) {
			case "login":
				v = p.name
			case "password":
				v = "password-of-" + p.name
			}
			values.Set(string(name[1]), v)
		}
		if req, err = http.NewRequestWithContext(ctx, http.MethodPost, action.String(), nil); err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Body, req.ContentLength = formBody(values)
	}
	return "", fmt.Errorf("still a form after 10 pages of %s", rawURL)
}

// dialog is a LoopbackDialog with the person in front of it.
func (p *person) dialog(t *testing.T) *LoopbackDialog {
	return &LoopbackDialog{Out: testWriter{t}, Open: func(ctx context.Context, u string) error {
		go func() {
			if _, err := p.browse(ctx, u); err != nil && ctx.Err() == nil {
				t.Errorf("%s could not log in: %v", p.name, err)
			}
		}()
		return nil
	}}
}

// noRedirect is a dialog of a host that no browser can reach.
type noRedirect struct{ *LoopbackDialog }

func (noRedirect) RedirectURL(context.Context) (string, error) { return "", auth.ErrUnsupported }

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Logf("%s", b)
	}
	return len(b), nil
}
