package sdk

import (
	"context"

	"google.golang.org/grpc"

	metricsv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/metrics/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// Metrics makes a plugin of a factory of sinks. The factory is called once per
// instance, for several at once perhaps, with a context that ends with the call. What
// it starts for later has to end in the sink's Close.
func Metrics[C any, S metrics.Sink](factory func(ctx context.Context, cfg C) (S, error)) Kind {
	return Kind{impl: &metricsKind[C, S]{newMaker(wire.KindMetrics, "Metrics", factory)}}
}

type metricsKind[C any, S metrics.Sink] struct{ maker[C, S] }

func (k *metricsKind[C, S]) register(srv *grpc.Server, set *instances) {
	metricsv1.RegisterMetricsServiceServer(srv, &metricsServer{set: set})
}

// metricsServer serves the instances of the kind metrics.
type metricsServer struct {
	metricsv1.UnimplementedMetricsServiceServer

	set *instances
}

func (s *metricsServer) Export(ctx context.Context, req *metricsv1.ExportRequest) (*metricsv1.ExportResponse, error) {
	sink, _, end, err := valueOf[metrics.Sink](s.set, req.GetInstance(), wire.KindMetrics)
	if err != nil {
		return nil, err
	}
	defer end()
	var result metrics.Result
	err = guard("Export", func() (err error) { result, err = sink.Export(ctx, wire.BatchFrom(req)); return err })
	return wire.ExportTo(result, err), nil
}
