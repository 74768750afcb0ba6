package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// The peer of package host: go-plugin as its manual has it, and one unary RPC for each
// signature. What the RPC carries is put together by hand, which costs less than the
// messages that one would define for it.

const (
	bareEnv    = "MCPOOL_BENCH_BARE_PLUGIN" // makes this program that plugin
	bareMethod = "/bench.Signer/Sign"
)

func bareHandshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: bareEnv, MagicCookieValue: "yes"}
}

// runBare serves the plugin until its client is done.
func runBare() error {
	signer, err := newSigner()
	if err != nil {
		return err
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: bareHandshake(), Plugins: plugin.PluginSet{"signer": &barePlugin{signer: signer, who: authRequest("alice")}},
		GRPCServer: plugin.DefaultGRPCServer, Logger: quietLog(),
	})
	return nil
}

func quietLog() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
}

// openBare starts it and connects.
func openBare() (signFunc, func() error, error) { return openBareWith(nil) }

// openVerified has go-plugin verify the checksum of the binary before.
func openVerified(sum []byte) func() (signFunc, func() error, error) {
	return func() (signFunc, func() error, error) {
		return openBareWith(&plugin.SecureConfig{Checksum: sum, Hash: sha256.New()})
	}
}

func openBareWith(secure *plugin.SecureConfig) (signFunc, func() error, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: bareHandshake(), Plugins: plugin.PluginSet{"signer": &barePlugin{}}, SecureConfig: secure,
		Cmd: exec.Command(path), AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: quietLog(), //nolint:noctx,gosec // this program
	})
	done := func() error { c.Kill(); return nil }
	client, err := c.Client()
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	raw, err := client.Dispense("signer")
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return nil, nil, errors.Join(errors.New("go-plugin returned no connection"), done())
	}
	what := toSign()
	return func(ctx context.Context) (http.Header, error) {
		var reply wrapperspb.StringValue
		if err := conn.Invoke(ctx, bareMethod, wrapperspb.String(pack(what)), &reply); err != nil {
			return nil, err
		}
		return unpackHeader(strings.Split(reply.GetValue(), "\n")), nil
	}, done, nil
}

type barePlugin struct {
	plugin.NetRPCUnsupportedPlugin
	signer auth.Signer
	who    auth.Request
}

func (p *barePlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// GRPCServer registers the service, without generated code.
func (p *barePlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error { //nolint:unparam // go-plugin wants it
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Signer", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Sign", Handler: p.sign}},
	}, p)
	return nil
}

func (p *barePlugin) sign(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // gRPC's order
	var in wrapperspb.StringValue
	if err := decode(&in); err != nil {
		return nil, err
	}
	sig, err := p.signer.Sign(ctx, p.who, unpack(in.GetValue()))
	if err != nil {
		return nil, err
	}
	return wrapperspb.String(packHeader(nil, sig.Header)), nil
}

// pack puts a request into lines: none of it has a line break.
func pack(r auth.HTTPRequest) string {
	return packHeader([]string{r.Method, r.URL, r.Host, hex.EncodeToString(r.BodySHA256[:])}, r.Header)
}

func packHeader(lines []string, h http.Header) string {
	for name, values := range h {
		for _, v := range values {
			lines = append(lines, name, v)
		}
	}
	return strings.Join(lines, "\n")
}

func unpack(s string) auth.HTTPRequest {
	lines := strings.Split(s, "\n")
	var sum [32]byte
	_, _ = hex.Decode(sum[:], []byte(lines[3])) // another sum would show in the signature
	return auth.HTTPRequest{
		Method: lines[0], URL: lines[1], Host: lines[2], BodySHA256: sum, ContentLength: 300,
		Header: unpackHeader(lines[4:]),
	}
}

func unpackHeader(lines []string) http.Header {
	h := make(http.Header, len(lines)/2)
	for i := 0; i+1 < len(lines); i += 2 {
		h[lines[i]] = append(h[lines[i]], lines[i+1])
	}
	return h
}
