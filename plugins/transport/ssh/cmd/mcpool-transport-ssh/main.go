// Command mcpool-transport-ssh is package ssh as a plugin binary.
package main

import (
	"context"

	"github.com/go-mcpool/mcpool/plugins/transport/ssh"
	"github.com/go-mcpool/mcpool/sdk"
)

func main() {
	sdk.Main(sdk.Info{
		Name: "mcpool-transport-ssh", Summary: "It carries MCP over the stdio of a remote command, by SSH.",
		Environment: []string{"SSH_AUTH_SOCK", "HOME"},
	}, sdk.Transport(func(_ context.Context, cfg ssh.Config) (*ssh.Dialer, error) { return ssh.New(cfg) }))
}
