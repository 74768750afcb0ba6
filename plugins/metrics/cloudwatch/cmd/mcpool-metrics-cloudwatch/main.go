// Command mcpool-metrics-cloudwatch is package poolcloudwatch as a plugin binary.
package main

import (
	"context"
	"path/filepath"

	poolcloudwatch "github.com/go-mcpool/mcpool/plugins/metrics/cloudwatch"
	"github.com/go-mcpool/mcpool/sdk"
)

func main() {
	sdk.Main(sdk.Info{
		Name: "mcpool-metrics-cloudwatch", Summary: "It sends the statistics of pools to Amazon CloudWatch.",
		Environment: []string{"AWS_*", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "HOME"},
	}, sdk.Metrics(open))
}

// open keeps what was sent in the folder of the instance, so that the process may be
// killed and the next one goes on from there.
func open(ctx context.Context, cfg poolcloudwatch.Config) (*poolcloudwatch.Sink, error) {
	if in, ok := sdk.InstanceOf(ctx); ok {
		cfg.StateFile, cfg.Logger = filepath.Join(in.StateDir, "sent.json"), in.Logger
	}
	return poolcloudwatch.New(ctx, cfg)
}
