package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// acme is the vendor's endpoint.
func acme(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Acme-Key") != "key-4711" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		io.WriteString(w, `{"token":"token-of-acme"}`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// snippet:begin contract
func TestContract(t *testing.T) {
	endpoint, key := acme(t), auth.NewSecret("key-4711")
	plugintest.Auth(t, open, plugintest.AuthOptions[config]{
		Config:  config{Endpoint: endpoint, Key: key},
		Stalled: &config{Endpoint: plugintest.Silent(t), Key: key},
		Failures: []plugintest.AuthFailure[config]{
			{Name: "no key", Config: config{Endpoint: endpoint}, Field: "key"},
			{
				Name: "wrong key", Config: config{Endpoint: endpoint, Key: auth.NewSecret("key-0815")},
				Is: auth.ErrCredentialsRejected,
			},
		},
	})
}

// snippet:end contract

// snippet:begin binary
func TestBinary(t *testing.T) {
	instance := func(endpoint string) host.Instance {
		return host.Instance{
			Name: "prod", Config: map[string]string{"endpoint": endpoint},
			Secrets: map[string]auth.Secret{"key": auth.NewSecret("key-4711")},
		}
	}
	stalled := instance(plugintest.Silent(t))
	plugintest.Binary(t, plugintest.Build(t, "."), plugintest.BinaryOptions{
		Auth: &plugintest.AuthOptions[host.Instance]{Config: instance(acme(t)), Stalled: &stalled},
	})
}

// snippet:end binary
