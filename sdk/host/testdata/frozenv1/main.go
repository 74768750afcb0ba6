// Command frozenv1 is a plugin of every kind as version 1 of the protocol had it, for
// as long as hosts are to serve such plugins. It is built from this folder alone: the
// messages are those of the descriptors beside it, and nothing is shared with the SDK.
//
// DO NOT CHANGE IT, nor v1.binpb, when a test that drives it fails. The host is to blame.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
)

//go:embed v1.binpb
var descriptors []byte

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	if os.Getenv("MCPOOL_PLUGIN") != "d7b1f0c1-mcpool-plugin" {
		return fmt.Errorf("this is a plugin for mcpool")
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(descriptors, &set); err != nil {
		return err
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(os.Getenv("MCPOOL_MAX_MESSAGE_BYTES"))
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(limit), grpc.MaxSendMsgSize(limit)}
	certificate := ""
	if pem := os.Getenv("PLUGIN_CLIENT_CERT"); pem != "" {
		config, der, err := mutualTLS(pem)
		if err != nil {
			return err
		}
		options, certificate = append(options, grpc.Creds(credentials.NewTLS(config))), der
	}
	p := &plugin{files: files, instances: make(map[string]object)}
	srv := grpc.NewServer(append(options, grpc.UnknownServiceHandler(p.handle))...)
	network, address := "unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "frozen")
	if where := os.Getenv("FROZEN_LISTEN"); where != "" { // as on Windows
		network, address = "tcp", where
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	go p.watchLifeline()
	fmt.Printf("1|1|%s|%s|grpc|%s\n", network, l.Addr(), certificate)
	return srv.Serve(l)
}

// watchLifeline ends everything with the host.
func (p *plugin) watchLifeline() {
	fd, err := strconv.Atoi(os.Getenv("MCPOOL_LIFELINE"))
	if err != nil {
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.NewFile(uintptr(fd), "lifeline"))
	p.mu.Lock()
	if dir := os.Getenv("MCPOOL_RUN_DIR"); !p.shutdown && strings.HasPrefix(filepath.Base(dir), "mcpool-") {
		_ = os.RemoveAll(dir)
	}
	_ = syscall.Kill(0, syscall.SIGKILL) // the group
}

type object = map[string]any

type plugin struct {
	files *protoregistry.Files

	mu        sync.Mutex
	instances map[string]object
	shutdown  bool
}

// call is one call of a method: messages are objects, as protojson has them.
type call struct {
	grpc.ServerStream
	in, out protoreflect.MessageDescriptor
	sending sync.Mutex
}

func (c *call) recv() (object, error) {
	m := dynamicpb.NewMessage(c.in)
	if err := c.RecvMsg(m); err != nil {
		return nil, err
	}
	return plain(m)
}

func (c *call) send(o object) error {
	m, err := message(c.out, o)
	if err != nil {
		return err
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.SendMsg(m)
}

func (p *plugin) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := p.files.FindDescriptorByName(protoreflect.FullName(service))
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if err != nil || !ok || sd.Methods().ByName(protoreflect.Name(name)) == nil {
		return grpcstatus.Error(codes.Unimplemented, method)
	}
	md := sd.Methods().ByName(protoreflect.Name(name))
	c := &call{ServerStream: stream, in: md.Input(), out: md.Output()}
	serve := map[string]func(*call) error{
		"Sign": p.sign, "Login": p.login, "Session": p.session, "Probe": p.probe,
	}[name]
	if serve != nil {
		return p.failed(serve(c))
	}
	in, err := c.recv()
	if err != nil {
		return err
	}
	out, err := p.unary(stream.Context(), name, in)
	if err != nil {
		return p.failed(err)
	}
	return c.send(out)
}

// failure is an error with what crosses of it.
type failure struct{ about object }

func (f *failure) Error() string { return fmt.Sprint(f.about["message"]) }

func fail(message, code, origin string) error {
	return &failure{object{"message": message, "causes": []object{{"code": code}}, "origin": origin}}
}

// failed puts a failure into the details of a status.
func (p *plugin) failed(err error) error {
	f, ok := err.(*failure)
	if !ok {
		return err
	}
	d, err := p.files.FindDescriptorByName("mcpool.base.v1.Failure")
	if err != nil {
		return err
	}
	m, err := message(d.(protoreflect.MessageDescriptor), f.about)
	if err != nil {
		return err
	}
	detail, err := anypb.New(m)
	if err != nil {
		return err
	}
	return grpcstatus.FromProto(&status.Status{Code: int32(codes.Unknown), Message: f.Error(), Details: []*anypb.Any{detail}}).Err()
}

func plain(m proto.Message) (object, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	return parse(text)
}

func message(d protoreflect.MessageDescriptor, o object) (*dynamicpb.Message, error) {
	m := dynamicpb.NewMessage(d)
	return m, protojson.Unmarshal(text(o), m)
}

// instance finds what was opened.
func (p *plugin) instance(in object) (object, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.instances[str(in, "instance")]
	if o == nil {
		return nil, fail("there is no such instance", "CODE_NO_INSTANCE", "ORIGIN_PLUGIN")
	}
	return o, nil
}

func (p *plugin) unary(_ context.Context, name string, in object) (object, error) {
	switch name {
	case "Describe":
		return description, nil
	case "Open":
		config, err := parse(bytes(in, "config"))
		if err != nil {
			return nil, err
		}
		config["key"] = string(bytes(in, "secrets", "key"))
		p.mu.Lock()
		p.instances[str(in, "instance")] = config
		p.mu.Unlock()
		if str(in, "kind") == "auth" {
			return object{"capabilities": []string{"sign", "login", "subject", "observe"}, "observedHeaders": []string{"X-Seen"}}, nil
		}
		return object{}, nil
	case "CloseInstance":
		p.mu.Lock()
		delete(p.instances, str(in, "instance"))
		p.mu.Unlock()
		return object{}, nil
	case "Shutdown":
		p.mu.Lock()
		p.shutdown = true
		p.mu.Unlock()
		return object{}, nil
	case "Credentials", "Challenge", "Export":
		held, err := p.instance(in)
		if err != nil {
			return nil, err
		}
		return map[string]func(object, object) (object, error){
			"Credentials": credentialsOf, "Challenge": challenge, "Export": export,
		}[name](held, in)
	}
	return object{}, nil // Validate, Health
}
