package host_test //nolint:testableexamples // it needs a file and binaries

import (
	"context"

	"github.com/go-mcpool/mcpool/sdk/host"
)

// open stands for what makes a client: mcpool.Open.
func open(host.Endpoint) error { return nil }

func ExampleLoadConfig() {
	start := func(ctx context.Context) (*host.Group, error) {
		cfg, err := host.LoadConfig("/etc/agents/plugins.json")
		if err != nil {
			return nil, err // every fault, by its path in the file
		}
		plugins, err := cfg.Launch(ctx, nil)
		if err != nil {
			return nil, err
		}
		search, err := plugins.Endpoint("search")
		if err != nil {
			return nil, err
		}
		err = open(search)
		return plugins, err
	}
	_ = start // it needs the file
}
