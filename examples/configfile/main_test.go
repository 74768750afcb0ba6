package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneFileReachesAServerThroughThreeBinaries(t *testing.T) {
	dir := t.TempDir()
	if err := build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	t.Run("what is shown holds", func(t *testing.T) {
		t.Setenv(tokenVariable, "") // put back in the end
		var out bytes.Buffer
		if err := runIn(t.Context(), &out, dir); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		if n := strings.Count(out.String(), " 0 without the token were refused\n"); n != 3 {
			t.Errorf("got %s", out.String())
		}
	})
	// So the credentials of the file do go through the transport.
	t.Run("a wrong token is refused", func(t *testing.T) {
		s, err := startServer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		t.Setenv(tokenVariable, "not-the-token")
		path, err := writeConfig(dir, s.url)
		if err != nil {
			t.Fatal(err)
		}
		plugins, pool, err := open(t.Context(), path)
		if plugins == nil {
			t.Fatal(err)
		}
		defer func() {
			if err := plugins.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}()
		if err == nil {
			t.Fatal("a pool was opened", pool.Close(t.Context()))
		}
		if refused, ok := errors.AsType[*mcpool.AuthError](err); !ok || refused.Status != http.StatusUnauthorized {
			t.Errorf("the error does not say why: %v", err)
		}
		if s.refused.Load() == 0 || s.sessions.Load() != 0 {
			t.Errorf("%d were refused and %d let in", s.refused.Load(), s.sessions.Load())
		}
	})
}
