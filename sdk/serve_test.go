package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

func TestTheLimitOfAMessageIsTheHostsIfItIsOne(t *testing.T) {
	for text, want := range map[string]int{
		"1048576": 1 << 20, "1": 1, "0": wire.DefaultMaxMessage, "-1": wire.DefaultMaxMessage, "": wire.DefaultMaxMessage, "1 MiB": wire.DefaultMaxMessage,
	} {
		t.Setenv(wire.EnvMaxMessage, text)
		if got := messageLimit(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestEveryErrorOfAServerCrossesAndNoMessageIsTooLarge(t *testing.T) {
	t.Setenv(wire.EnvMaxMessage, "1024")
	d, kinds, err := describe(Info{Name: "acme"}, []Kind{Auth(func(context.Context, settings) (lavish, error) { return lavish{}, nil })})
	if err != nil {
		t.Fatal(err)
	}
	srv, l := newServer(nil), bufconn.Listen(1<<16)
	s := &server{base: &base{description: d, kinds: kinds, set: newInstances(), shutdown: func(bool) {}}}
	if err := s.GRPCServer(nil, srv); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() {
		srv.Stop()
		<-served
	}()
	conn, err := grpc.NewClient("passthrough:///acme", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := authv1.NewAuthServiceClient(conn)
	credentials := func(instance, id string) error {
		_, err := client.Credentials(t.Context(), &authv1.CredentialsRequest{
			Instance: instance, Request: wire.RequestTo(auth.Request{Identity: auth.Identity{ID: id}}),
		})
		return err
	}
	if e, ok := wire.FromStatus(credentials("a", "")); !ok || !errors.Is(e, wire.ErrNoInstance) {
		t.Errorf("a call: %v", e)
	}
	login, err := client.Login(t.Context())
	if err == nil {
		err = login.Send(begin("a"))
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = login.Recv()
	if e, ok := wire.FromStatus(err); !ok || !errors.Is(e, wire.ErrNoInstance) {
		t.Errorf("a stream: %v", err)
	}
	if _, err := basev1.NewPluginServiceClient(conn).Open(t.Context(), &basev1.OpenRequest{Kind: "auth", Major: 1, Instance: "a"}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]codes.Code{"10": codes.OK, "2000": codes.ResourceExhausted, strings.Repeat("0", 2000): codes.ResourceExhausted} {
		if err := credentials("a", id); status.Code(err) != want {
			t.Errorf("a message that is too large: %v", err)
		}
	}
}

// lavish has credentials as large as the identity says.
type lavish struct{ auth.Provider }

func (lavish) Credentials(_ context.Context, req auth.Request) (auth.Credentials, error) {
	size, err := strconv.Atoi(req.Identity.ID)
	return auth.Credentials{Generation: strings.Repeat("g", size)}, err
}

func TestWhatTheHostDoesNotWantInItsLogIsNotWritten(t *testing.T) {
	logged(t) // puts the default logger back
	for level, want := range map[string]string{
		"DEBUG": "DEBUG INFO WARN ERROR", "INFO": "INFO WARN ERROR", "WARN": "WARN ERROR", "ERROR": "ERROR", "ERROR+1": "",
		"": "INFO WARN ERROR", "loud": "INFO WARN ERROR",
	} {
		t.Setenv(wire.EnvLogLevel, level)
		f, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		logTo(f)
		for _, at := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			slog.Log(t.Context(), at, "hello")
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var got []string
		for d := json.NewDecoder(f); d.More(); {
			var rec struct{ Level string }
			if err := d.Decode(&rec); err != nil {
				t.Fatal(err)
			}
			got = append(got, rec.Level)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %s", level, got, want)
		}
	}
}

func TestALifelineIsADescriptorOfTheHosts(t *testing.T) {
	for text, want := range map[string]int{"stdin": 0, "3": 3, "17": 17, "0": -1, "1": -1, "2": -1, "-1": -1, "": -1, "x": -1} {
		t.Setenv(wire.EnvLifeline, text)
		fd, ok := lifelineFD()
		if ok != (want >= 0) || ok && fd != want {
			t.Errorf("%q: %d, %v", text, fd, ok)
		}
	}
}

func TestOnlyAFolderOfAHostsIsSwept(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, swept := range map[string]bool{
		filepath.Join(dir, wire.RunDirPrefix+"1"): true, filepath.Join(dir, "home"): false, wire.RunDirPrefix + "2": false,
		filepath.Join(dir, wire.RunDirPrefix+"3", "home"): false,
	} {
		if err := os.MkdirAll(filepath.Join(name, "s"), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv(wire.EnvRunDir, name)
		sweep()
		if _, err := os.Lstat(name); os.IsNotExist(err) != swept {
			t.Errorf("%s: %v", name, err)
		}
	}
}
