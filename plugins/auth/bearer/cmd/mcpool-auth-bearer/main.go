// Command mcpool-auth-bearer is package bearer as a plugin binary.
package main

import (
	"context"

	"github.com/go-mcpool/mcpool/plugins/auth/bearer"
	"github.com/go-mcpool/mcpool/sdk"
)

func main() {
	sdk.Main(sdk.Info{Name: "mcpool-auth-bearer", Summary: "It sends a token from its configuration, a file or a command."},
		sdk.Auth(func(_ context.Context, cfg bearer.Config) (*bearer.Provider, error) { return bearer.New(cfg) },
			sdk.Headers("*")))
}
