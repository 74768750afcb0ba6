package oauth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestALoopbackDialogHearsOnlyTheBrowserOfItsLogin(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var out syncBuffer
	opened := make(chan string, 1)
	d := &LoopbackDialog{Out: &out, Open: func(_ context.Context, u string) error {
		opened <- u
		return errors.New("no browser")
	}}
	if _, err := d.Callback(ctx, "s"); err == nil {
		t.Error("a callback without a redirect")
	}
	redirect, err := d.RedirectURL(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(redirect, "http://127.0.0.1:") || !strings.HasSuffix(redirect, "/callback") {
		t.Errorf("redirect %q", redirect)
	}
	if _, err := d.RedirectURL(ctx); err == nil {
		t.Error("a second login with the same dialog")
	}
	if err := d.Show(ctx, auth.Prompt{URL: "https://as.example/go", UserCode: "WDJB", Message: "Log in."}); err != nil {
		t.Fatal(err)
	}
	if u := <-opened; u != "https://as.example/go" {
		t.Errorf("opened %q", u)
	}
	for _, want := range []string{"Log in.", "https://as.example/go", "WDJB", "no browser"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q was not printed", want)
		}
	}
	visit := func(method, url, host string) (int, string) {
		req, err := http.NewRequestWithContext(ctx, method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := testClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if code, _ := visit("GET", redirect+"/other?state=right", ""); code != 404 {
		t.Errorf("another path: %d", code)
	}
	if code, _ := visit("POST", redirect+"?state=right", ""); code != 404 {
		t.Errorf("another method: %d", code)
	}
	if code, _ := visit("GET", redirect+"?state=right", "rebound.example"); code != 404 {
		t.Errorf("another host: %d", code)
	}
	visit("GET", redirect+"?state=wrong&code=evil", "")
	if code, body := visit("GET", redirect+"?state=right&code=a%2Bb&x=%3Cscript%3E", ""); code != 200 || strings.Contains(body, "script") {
		t.Errorf("the browser: %d %q", code, body)
	}
	query, err := d.Callback(ctx, "right")
	if err != nil || query.Reveal() != "state=right&code=a%2Bb&x=%3Cscript%3E" {
		t.Errorf("query %q, %v", query.Reveal(), err)
	}
	for range 20 { // a flood fills no memory
		visit("GET", redirect+"?state=flood", "")
	}
	end()
	if _, err := d.Callback(ctx, "never"); err == nil {
		t.Error("a callback after the end")
	}
	waitFor(t, func() bool {
		resp, err := testClient.Get(redirect)
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	})
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *syncBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func TestALoopbackDialogListensNowhereElse(t *testing.T) {
	t.Parallel()
	for _, d := range []*LoopbackDialog{{Addr: "0.0.0.0:0"}, {Addr: ":0"}, {Addr: "example.com:80"}, {Addr: "127.0.0.1"}, {Path: "x"}} {
		if _, err := d.RedirectURL(t.Context()); err == nil {
			t.Errorf("it listens at %q with path %q", d.Addr, d.Path)
		}
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	d := &LoopbackDialog{Addr: "localhost:0"}
	if redirect, err := d.RedirectURL(ctx); err != nil || !strings.HasPrefix(redirect, "http://localhost:") {
		t.Errorf("%q, %v: servers compare the name", redirect, err)
	}
}

func TestABrowserIsOpenedOnlyForWhatABrowserShouldOpen(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"http://as.example", "file:///etc/passwd", "javascript:alert(1)", "--help", ""} {
		if err := OpenBrowser(t.Context(), u); err == nil {
			t.Errorf("%q was opened", u)
		}
	}
}
