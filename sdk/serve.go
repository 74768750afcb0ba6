package sdk

import (
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// serve speaks to the host until it is gone.
func serve(d wire.Description, kinds []kind) int {
	logTo(os.Stderr) // go-plugin puts something else in its place
	// A signal to the host's process group is not for us: the host drains, then asks
	// for a shutdown, and if it dies the lifeline says so. Nor are two that come of its
	// death and would end us before the lifeline is through: SIGPIPE for whoever logs to
	// a host that is gone, SIGHUP for a group of which a member is stopped. Not
	// signal.Ignore: what is ignored stays so in the programs that a plugin starts.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGPIPE, syscall.SIGHUP)

	govern()
	set := newInstances()
	line := watchLifeline(set)
	b := &base{description: d, kinds: kinds, set: set, shutdown: line.expect}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: wire.ProtoVersion, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		Plugins: plugin.PluginSet{wire.PluginName: &server{base: b}},
		// Why it serves no more, for which go-plugin has no error.
		Logger:     hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr, DisableTime: true}),
		GRPCServer: newServer,
	})
	line.end(1) // and the host, which needs the folder, starts another
	return 1
}

// newServer makes the server of all services, with the options that go-plugin adds.
func newServer(opts []grpc.ServerOption) *grpc.Server {
	limit := messageLimit()
	return grpc.NewServer(append(opts,
		grpc.ForceServerCodecV2(wire.Codec()), grpc.MaxRecvMsgSize(limit), grpc.MaxSendMsgSize(limit),
		grpc.StaticStreamWindowSize(wire.Window), grpc.StaticConnWindowSize(wire.Window),
		grpc.ChainUnaryInterceptor(unary), grpc.ChainStreamInterceptor(streaming))...)
}

// messageLimit bounds a message of the wire.
func messageLimit() int {
	if n, err := strconv.Atoi(os.Getenv(wire.EnvMaxMessage)); err == nil && n > 0 {
		return n
	}
	return wire.DefaultMaxMessage
}

// server registers everything with go-plugin.
type server struct {
	plugin.NetRPCUnsupportedPlugin
	grpcOnly

	base *base
}

func (s *server) GRPCServer(_ *plugin.GRPCBroker, srv *grpc.Server) error {
	basev1.RegisterPluginServiceServer(srv, s.base)
	for _, k := range s.base.kinds {
		k.register(srv, s.base.set)
	}
	return nil
}

// logTo makes slog's default logger write what the host reads.
func logTo(f *os.File) {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(os.Getenv(wire.EnvLogLevel))) // else stays as it is
	slog.SetDefault(slog.New(slog.NewJSONHandler(f, &slog.HandlerOptions{Level: level})))
}
