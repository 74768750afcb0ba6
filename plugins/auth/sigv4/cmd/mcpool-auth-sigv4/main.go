// Command mcpool-auth-sigv4 is package sigv4 as a plugin binary.
package main

import (
	"context"

	"github.com/go-mcpool/mcpool/plugins/auth/sigv4"
	"github.com/go-mcpool/mcpool/sdk"
)

func main() {
	sdk.Main(sdk.Info{
		Name: "mcpool-auth-sigv4", Summary: "It signs requests with AWS Signature Version 4.",
		Environment: []string{"AWS_*", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "HOME"},
	}, sdk.Auth(func(_ context.Context, cfg sigv4.Config) (*sigv4.Provider, error) { return sigv4.New(cfg) },
		sdk.Headers("Authorization", "X-Amz-*")))
}
