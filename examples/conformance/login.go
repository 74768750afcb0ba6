package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-mcpool/mcpool/plugins/auth/oauth"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// logIn plays the person: the suite's authorization servers consent at once and
// redirect to the program, which listens on loopback as a real one would.
func logIn(ctx context.Context, i auth.Interactive, req auth.Request) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := i.Login(ctx, req, &oauth.LoopbackDialog{
		Addr: "localhost:0",
		Out:  io.Discard,
		Open: func(ctx context.Context, url string) error {
			err := browse(ctx, url)
			if err != nil {
				cancel(err) // nobody will come back
			}
			return err
		},
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = errors.Join(err, cause)
	}
	return err
}

// browse follows redirects until a page comes.
func browse(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := browser.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the browser was shown %s", resp.Status)
	}
	return nil
}
