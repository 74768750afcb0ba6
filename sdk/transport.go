package sdk

import (
	"context"

	"google.golang.org/grpc"

	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// TransportOption says what the types of a factory do not.
type TransportOption func(*transportOptions)

type transportOptions struct{ capabilities []string }

// DialsWithSubject says that the plugin exchanges the token of Identity.Subject when
// it dials. Without it the host does not give it away.
func DialsWithSubject() TransportOption {
	return func(o *transportOptions) { o.capabilities = []string{wire.CapSubject} }
}

// Transport makes a plugin of a factory of dialers. The factory is called once per
// instance, for several at once perhaps, with a context that ends with the call. If
// the dialer has a method Close(context.Context) error, it is called when the instance
// ends, after its connections were closed.
func Transport[C any, D transport.Dialer](
	factory func(ctx context.Context, cfg C) (D, error), opts ...TransportOption,
) Kind {
	var o transportOptions
	for _, opt := range opts {
		opt(&o)
	}
	k := &transportKind[C, D]{newMaker(wire.KindTransport, "Transport", factory)}
	k.capabilities = o.capabilities
	return Kind{impl: k}
}

type transportKind[C any, D transport.Dialer] struct{ maker[C, D] }

func (k *transportKind[C, D]) register(srv *grpc.Server, set *instances) {
	transportv1.RegisterTransportServiceServer(srv, &transportServer{set: set})
}

// transportServer serves the instances of the kind transport.
type transportServer struct {
	transportv1.UnimplementedTransportServiceServer

	set *instances
}

func (s *transportServer) Session(stream sessionStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	open := first.GetOpen()
	if open == nil {
		return errFirstMessage
	}
	dialer, ending, end, err := valueOf[transport.Dialer](s.set, open.GetInstance(), wire.KindTransport)
	if err != nil {
		return err
	}
	defer end()
	return serveSession(stream, dialer, open, ending)
}
