package bearer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

const token = "tok-4f1d9b7c2e8a6053"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newProvider(t *testing.T, cfg Config) *Provider {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func header(t *testing.T, p auth.Provider) (value, generation string) {
	t.Helper()
	c, err := p.Credentials(t.Context(), auth.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Header.Get("Authorization"), c.Generation
}

func TestAStaticTokenIsSentAndNotBettered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cfg          Config
		header, want string
	}{
		{Config{}, "Authorization", "Bearer " + token},
		{Config{Scheme: "token"}, "Authorization", "token " + token},
		{Config{Scheme: "-"}, "Authorization", token},
		{Config{Header: "x-api-key"}, "X-Api-Key", token},
	} {
		tt.cfg.Token = auth.NewSecret(token)
		p := newProvider(t, tt.cfg)
		c, err := p.Credentials(t.Context(), auth.Request{})
		if err != nil || c.Header.Get(tt.header) != tt.want || !c.Expires.IsZero() {
			t.Errorf("%q, %v", c.Header, err)
		}
		if o, err := p.Challenge(t.Context(), auth.Request{}, auth.Challenge{Status: 401, Generation: c.Generation}); o != auth.GiveUp || err != nil {
			t.Errorf("challenge: %v, %v", o, err)
		}
	}
}

func TestAFileIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "\ufeffone\r\n")
	p := newProvider(t, Config{File: file})
	value, first := header(t, p)
	if value != "Bearer one" {
		t.Errorf("%q", value)
	}
	if _, g := header(t, p); g != first {
		t.Error("the generation changed and the token did not")
	}
	next, old := "", time.Now().Add(-time.Hour)
	steps := map[string]func(){
		"overwritten in place, same size, same moment": func() { write(file, "two\n") },
		"renamed over": func() {
			write(file+".new", next)
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
		},
		"read long after it was written": func() {
			write(file, "olds")
			os.Chtimes(file, old, old)
		},
		"same size and time, other file": func() {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			write(file+".new", "FOUR")
			os.Chtimes(file+".new", info.ModTime(), info.ModTime())
			os.Rename(file+".new", file)
		},
		"overwritten in place, same size and recent time": func() {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			write(file, "FIVE")
			os.Chtimes(file, info.ModTime(), info.ModTime())
		},
		"a symbolic link that moves": func() {
			write(filepath.Join(dir, "v5"), "five")
			os.Remove(file)
			os.Symlink("v5", file)
		},
	}
	for _, s := range []struct{ how, want string }{
		{"overwritten in place, same size, same moment", "two"}, {"renamed over", "three"},
		{"read long after it was written", "olds"}, {"same size and time, other file", "FOUR"},
		{"renamed over", "three"}, {"same size and time, other file", "FOUR"},
		{"renamed over", "four"}, {"overwritten in place, same size and recent time", "FIVE"},
		{"a symbolic link that moves", "five"},
	} {
		_, before := header(t, p)
		next = s.want
		steps[s.how]()
		if o, err := p.Challenge(t.Context(), auth.Request{}, auth.Challenge{Status: 401, Generation: before}); o != auth.Retry || err != nil {
			t.Errorf("%s: challenge %v, %v", s.how, o, err)
		}
		value, g := header(t, p)
		if value != "Bearer "+s.want || g == before {
			t.Errorf("%s: %q, generation %s", s.how, value, g)
		}
		if o, _ := p.Challenge(t.Context(), auth.Request{}, auth.Challenge{Status: 401, Generation: g}); o != auth.GiveUp {
			t.Errorf("%s: unchanged, but %v", s.how, o)
		}
	}
	os.Remove(file)
	if _, err := p.Credentials(t.Context(), auth.Request{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	write(file, "six")
	if value, _ := header(t, p); value != "Bearer six" {
		t.Errorf("back again: %q", value)
	}
}

func TestAnUnchangedFileIsNotReadAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	os.WriteFile(file, []byte("one"), 0o600)
	old := time.Now().Add(-time.Hour)
	os.Chtimes(file, old, old)
	p := newProvider(t, Config{File: file})
	read := p.stamp.read
	header(t, p)
	if !p.stamp.read.Equal(read) {
		t.Error("it was read again")
	}
}

func TestRotatingAFileNeverYieldsHalfATokenConcurrentSafe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	rotate := func(i int) {
		os.WriteFile(file+".new", []byte(strings.Repeat(fmt.Sprint(i%10), 1000)), 0o600)
		os.Rename(file+".new", file)
	}
	rotate(0)
	p := newProvider(t, Config{File: file})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		defer close(stop)
		for i := range 300 {
			rotate(i)
		}
	})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := p.Credentials(t.Context(), auth.Request{})
				v := strings.TrimPrefix(c.Header.Get("Authorization"), "Bearer ")
				if err != nil || len(v) != 1000 || strings.Trim(v, v[:1]) != "" {
					t.Errorf("%d bytes, %v", len(v), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestAFileThatOthersCanReadIsReportedOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	os.WriteFile(file, []byte(token), 0o600)
	os.Chmod(file, 0o644)
	var warnings []string
	p := newProvider(t, Config{File: file, Warn: func(m string) { warnings = append(warnings, m) }})
	os.WriteFile(file, []byte("other"), 0o644)
	header(t, p)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "chmod 600") || strings.Contains(warnings[0], token) {
		t.Errorf("%q", warnings)
	}
}

func TestNewReportsEveryFaultAtOnceAndNeverTheToken(t *testing.T) {
	t.Parallel()
	_, err := New(Config{
		Token: auth.NewSecret(token + " "), File: "x", Header: "Content-Type",
		Command: Command{Env: []string{"nonsense"}, Dir: "/nonexistent", Timeout: -1, TTL: -2},
	})
	for _, field := range []string{"Token ", "Command.Args", "Command.Env[0]", "Command.Dir", "Command.Timeout", "Command.TTL", "exactly one", "Header"} {
		if !strings.Contains(fmt.Sprint(err), field) {
			t.Errorf("%s is missing in: %v", field, err)
		}
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty": " \n", "two words": token + " " + token, "binary": token + "\x00", "large": strings.Repeat(token, 10_000),
		"mostly space": token + strings.Repeat("\n", 100_000),
	} {
		file := filepath.Join(dir, "f")
		os.WriteFile(file, []byte(content), 0o600)
		_, ferr := New(Config{File: file})
		if !errors.As(ferr, new(*auth.ConfigError)) || strings.Contains(ferr.Error(), token) {
			t.Errorf("%s: %v", name, ferr)
		}
	}
	if _, derr := New(Config{File: dir}); derr == nil {
		t.Error("a directory is not a file")
	}
	if text := fmt.Sprintf("%v %#v", err, err); strings.Contains(text, token) {
		t.Errorf("the token is shown: %s", text)
	}
}

func TestNothingPrintsTheToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	os.WriteFile(file, []byte(token), 0o600)
	for _, cfg := range []Config{{Token: auth.NewSecret(token)}, {File: file}, {Command: Command{Args: []string{"/bin/cat", file}}}} {
		p := newProvider(t, cfg)
		creds, err := p.Credentials(t.Context(), auth.Request{})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{p, creds, cfg.Token, struct{ p *Provider }{p}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
				if s := fmt.Sprintf(verb, v); strings.Contains(s, token) {
					t.Errorf("%s of %T: %s", verb, v, s)
				}
			}
		}
	}
}

func TestAfterCloseNothingIsHandedOut(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Config{Token: auth.NewSecret(token)})
	p.Close(t.Context())
	if _, err := p.Credentials(t.Context(), auth.Request{}); !errors.Is(err, auth.ErrClosed) {
		t.Error(err)
	}
	if _, err := p.Challenge(t.Context(), auth.Request{}, auth.Challenge{Status: 401}); !errors.Is(err, auth.ErrClosed) {
		t.Error(err)
	}
}
