// Command mcpool-probe-http is package http as a plugin binary.
package main

import (
	"context"

	"github.com/go-mcpool/mcpool/plugins/probe/http"
	"github.com/go-mcpool/mcpool/sdk"
)

func main() {
	sdk.Main(sdk.Info{
		Name: "mcpool-probe-http", Summary: "It asks a health URL beside the resource.",
		Environment: []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE"},
	}, sdk.Probe(func(_ context.Context, cfg http.Config) (*http.Prober, error) { return http.New(cfg) }))
}
