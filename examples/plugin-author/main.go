// Command plugin-author is a vendor's plugin, whole: it trades an API key for a token
// at the vendor's endpoint. docs/plugins.md explains it and its test.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

func main() {
	sdk.Main(sdk.Info{Name: "acme-auth", Version: "1.0.0"}, sdk.Auth(open))
}

type config struct {
	Endpoint string      `json:"endpoint"`
	Key      auth.Secret `json:"key"`
}

func open(_ context.Context, cfg config) (*provider, error) {
	if cfg.Key.IsEmpty() {
		return nil, &auth.ConfigError{Field: "key", Problem: "is missing"}
	}
	return &provider{cfg}, nil
}

// provider asks for a token each time: the auth.Cache in front of it keeps them.
type provider struct{ cfg config }

func (p *provider) Credentials(ctx context.Context, _ auth.Request) (auth.Credentials, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.Endpoint, http.NoBody)
	if err != nil {
		return auth.Credentials{}, err
	}
	req.Header.Set("X-Acme-Key", p.cfg.Key.Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return auth.Credentials{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return auth.Credentials{}, fmt.Errorf("acme answered %s: %w", resp.Status, auth.ErrCredentialsRejected)
	}
	var answer map[string]string
	err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 64<<10)).Decode(&answer)
	header := http.Header{"Authorization": {"Bearer " + answer["token"]}}
	return auth.Credentials{Header: header, Expires: time.Now().Add(time.Hour)}, err
}

func (p *provider) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	return auth.Retry, nil // a token may be revoked early: the next one has a chance
}

func (p *provider) Close(context.Context) error { return nil }
