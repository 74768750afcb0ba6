package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-mcpool/mcpool/plugins/auth/bearer"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
)

// snippet:begin load
// load starts the binary at path, whose digest was published with it, and opens an
// instance. The plugin is closed when nothing uses its instances any more.
func load(ctx context.Context, path, sha256, endpoint string) (*host.Running, auth.Provider, error) {
	plugin, err := host.Launch(ctx, host.Plugin{Path: path, SHA256: sha256, Env: host.EnvProxy()})
	if err != nil {
		return nil, nil, err
	}
	provider, err := plugin.Auth(ctx, host.Instance{
		Name:    "prod",
		Config:  map[string]string{"endpoint": endpoint},
		Secrets: map[string]auth.Secret{"key": auth.NewSecret(os.Getenv("ACME_KEY"))},
	})
	if err != nil {
		_ = plugin.Close(ctx)
		return nil, nil, err
	}
	return plugin, provider, nil
}

// snippet:end load

// snippet:begin compile
// compileIn needs no binary: the library behind it satisfies the same interface.
func compileIn() (auth.Provider, error) {
	return bearer.New(bearer.Config{Token: auth.NewSecret(os.Getenv("ACME_TOKEN"))})
}

// snippet:end compile

// snippet:begin use
// use asks for credentials as a pool does, through a cache.
func use(ctx context.Context, provider auth.Provider) (http.Header, error) {
	cache, err := auth.NewCache(provider, auth.CacheConfig{Instance: "prod"})
	if err != nil {
		return nil, err
	}
	defer cache.Close(ctx) // and with it the provider
	c, err := cache.Credentials(ctx, auth.Request{Target: auth.Target{URL: "https://mcp.example/mcp"}})
	return c.Header, err
}

// snippet:end use

// The two ways to run a plugin: as a binary, and compiled in.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "plugin-author")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "acme-auth")
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, ".").CombinedOutput(); err != nil {
		fmt.Printf("%v: %s\n", err, out)
		return
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"token":"for %s"}`, r.Header.Get("X-Acme-Key"))
	}))
	defer server.Close()
	os.Setenv("ACME_KEY", "key-4711")
	os.Setenv("ACME_TOKEN", "tok-0815")
	defer os.Unsetenv("ACME_KEY")
	defer os.Unsetenv("ACME_TOKEN")

	sum, err := fileSHA256(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	plugin, provider, err := load(ctx, path, sum, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer plugin.Close(ctx)
	header, err := use(ctx, provider)
	fmt.Println(header.Get("Authorization"), err)

	compiled, err := compileIn()
	if err != nil {
		fmt.Println(err)
		return
	}
	header, err = use(ctx, compiled)
	fmt.Println(header.Get("Authorization"), err)
	// Output:
	// Bearer for key-4711 <nil>
	// Bearer tok-0815 <nil>
}
