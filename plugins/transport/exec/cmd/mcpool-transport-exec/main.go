// Command mcpool-transport-exec is package exec as a plugin binary.
package main

import (
	"context"

	"github.com/go-mcpool/mcpool/plugins/transport/exec"
	"github.com/go-mcpool/mcpool/sdk"
)

func main() {
	sdk.Main(sdk.Info{
		Name: "mcpool-transport-exec", Summary: "It carries MCP over the stdio of a wrapper command.",
		Environment: []string{"PATH", "HOME"},
	}, sdk.Transport(func(_ context.Context, cfg exec.Config) (*exec.Dialer, error) { return exec.New(cfg) }))
}
