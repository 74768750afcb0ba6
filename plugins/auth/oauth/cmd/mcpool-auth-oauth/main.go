// Command mcpool-auth-oauth is package oauth as a plugin binary. Tokens are kept in
// the instance's state folder.
package main

import (
	"context"
	"path/filepath"

	"github.com/go-mcpool/mcpool/plugins/auth/oauth"
	"github.com/go-mcpool/mcpool/sdk"
)

func main() {
	sdk.Main(sdk.Info{
		Name: "mcpool-auth-oauth", Summary: "It obtains OAuth 2.1 access tokens for MCP servers.",
		Environment: []string{"HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"},
	}, sdk.Auth(open, sdk.Headers("Authorization", "Dpop"), sdk.UsesSubject()))
}

func open(ctx context.Context, cfg oauth.Config) (*oauth.Provider, error) {
	if in, ok := sdk.InstanceOf(ctx); ok && cfg.TokenFile == "" && in.StateDir != "" {
		cfg.TokenFile = filepath.Join(in.StateDir, "tokens.json")
	}
	return oauth.New(cfg)
}
