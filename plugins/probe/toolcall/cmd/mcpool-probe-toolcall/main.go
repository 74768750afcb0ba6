// Command mcpool-probe-toolcall is package toolcall as a plugin binary.
package main

import (
	"context"

	"github.com/go-mcpool/mcpool/plugins/probe/toolcall"
	"github.com/go-mcpool/mcpool/sdk"
)

func main() {
	sdk.Main(sdk.Info{
		Name: "mcpool-probe-toolcall", Summary: "It calls a tool and checks the result.",
	}, sdk.Probe(func(_ context.Context, cfg toolcall.Config) (*toolcall.Prober, error) { return toolcall.New(cfg) }))
}
