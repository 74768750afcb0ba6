//go:build unix

package bearer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func script(t *testing.T, body string) Command {
	t.Helper()
	file := filepath.Join(t.TempDir(), "get-token")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return Command{Args: []string{"/bin/sh", file}}
}

func TestACommandsOutputIsTheTokenWithItsExpiry(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Second)
	for _, tt := range []struct {
		body string
		ttl  time.Duration
		want time.Duration // of life; 0 for ever
	}{
		{"echo " + token, 0, 5 * time.Minute},
		{"echo " + token, time.Hour, time.Hour},
		{"echo " + token, -1, 0},
		{`echo '{"token":"` + token + `","expires_in":60,"other":[1]}'`, 0, time.Minute},
		{`echo '{"access_token":"` + token + `","expires_in":"90"}'`, 0, 90 * time.Second},
		{`echo '{"token":"` + token + `","expires_at":"` + at.Format(time.RFC3339) + `"}'`, 0, 2 * time.Hour},
		{`echo '{"token":"` + token + `"}'`, time.Hour, time.Hour},
	} {
		c := script(t, tt.body)
		c.TTL = tt.ttl
		p := newProvider(t, Config{Command: c})
		creds, err := p.Credentials(t.Context(), auth.Request{})
		if err != nil || creds.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s: %v %q", tt.body, err, creds.Header)
			continue
		}
		if tt.want == 0 {
			if !creds.Expires.IsZero() {
				t.Errorf("%s: expires %v", tt.body, creds.Expires)
			}
		} else if life := time.Until(creds.Expires); life > tt.want || life < tt.want-30*time.Second {
			t.Errorf("%s: lives %v, want %v", tt.body, life, tt.want)
		}
		_, g := header(t, p)
		if g != creds.Generation {
			t.Errorf("the same token has generations %s and %s", creds.Generation, g)
		}
		if o, _ := p.Challenge(t.Context(), auth.Request{}, auth.Challenge{Status: 401, Generation: g}); o != auth.Retry {
			t.Errorf("challenge: %v", o)
		}
		if o, _ := p.Challenge(t.Context(), auth.Request{}, auth.Challenge{Status: 403, Generation: g}); o != auth.GiveUp {
			t.Errorf("403: %v", o)
		}
	}
}

func TestAFailingCommandSaysWhyAndNeverTheToken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, body, want string }{
		{"its own words", "echo first >&2; echo 'vault is sealed' >&2; exit 3", "vault is sealed"},
		{"token on stdout and stderr", "echo " + token + "; echo using " + token + " >&2; exit 1", "left out"},
		{"token only on stderr", "echo using " + token + " >&2; exit 1", "[redacted]"},
		{"a token in a query", "echo https://h/?t=" + token + " >&2; exit 1", "[redacted]"},
		{"expired", `echo '{"token":"` + token + `","expires_at":"2020-01-01T00:00:00Z"}'`, "expired"},
		{"broken JSON", `echo '{"token":"` + token + `"'`, "JSON"},
		{"bad time", `echo '{"token":"` + token + `","expires_at":"` + token + `"}'`, "RFC 3339"},
		{"bad seconds", `echo '{"token":"` + token + `","expires_in":-1}'`, "seconds"},
		{"two lines", "echo " + token + "; echo " + token, "white space"},
		{"nothing", "true", "is empty"},
		{"a flood", "trap '' PIPE; while :; do echo " + token + "; done 2>/dev/null", "more than"},
	} {
		p := newProvider(t, Config{Command: script(t, tt.body)})
		began := time.Now()
		_, err := p.Credentials(t.Context(), auth.Request{})
		if err == nil || time.Since(began) > 20*time.Second {
			t.Errorf("%s: %v after %v", tt.name, err, time.Since(began))
			continue
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%#v", err), fmt.Sprintf("%+v", errors.Unwrap(err))} {
			if strings.Contains(text, token) {
				t.Errorf("%s: the token is in %s", tt.name, text)
			}
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestACommandRunsWithoutAShellAndInItsOwnEnvironment(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Config{Command: Command{Args: []string{"/bin/echo", "$HOME;`id`"}}})
	if v, _ := header(t, p); v != "Bearer $HOME;`id`" {
		t.Errorf("%q", v)
	}
	c := script(t, `echo "$A-$HOME"`)
	c.Env = []string{"A=only"}
	p = newProvider(t, Config{Command: c})
	if v, _ := header(t, p); v != "Bearer only-" {
		t.Errorf("%q", v)
	}
}

func TestACommandThatHangsIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	for name, end := range map[string]func(p *Provider, cancel func()) error{
		"timeout": func(*Provider, func()) error { return context.DeadlineExceeded },
		"caller":  func(_ *Provider, cancel func()) error { cancel(); return context.Canceled },
		"close": func(p *Provider, _ func()) error {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := p.Close(ctx); err != nil {
				t.Error(err)
			}
			return auth.ErrClosed
		},
	} {
		c := script(t, "sleep 1000 & echo $! > "+pidFile+".new; mv "+pidFile+".new "+pidFile+"; echo "+token+" >&2; wait")
		if name == "timeout" {
			c.Timeout = time.Second
		}
		var p *Provider
		var failed chan error
		ctx, cancel := context.WithCancel(t.Context())
		begin := func() {
			os.Remove(pidFile)
			p, failed = newProvider(t, Config{Command: c}), make(chan error, 1)
			go func(p *Provider, failed chan<- error) {
				_, err := p.Credentials(ctx, auth.Request{})
				failed <- err
			}(p, failed)
		}
		begin()
		pid := 0
		eventually(t, func() bool {
			data, _ := os.ReadFile(pidFile)
			if pid, _ = strconv.Atoi(strings.TrimSpace(string(data))); pid > 0 {
				return true
			}
			if len(failed) > 0 { // its time was over before the shell had come so far: it gets more
				if err := <-failed; !errors.Is(err, context.DeadlineExceeded) || name != "timeout" {
					t.Fatalf("%s: %v", name, err)
				}
				c.Timeout *= 2
				begin()
			}
			return false
		})
		want := end(p, cancel)
		err := <-failed
		if !errors.Is(err, want) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", name, err)
		}
		eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) })
		cancel()
	}
}

// zombie: killed, and waiting for a parent that will not come in some containers.
func zombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(data), ") Z ")
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen")
		}
	}
}

func FuzzParseNeverQuotesTheOutput(f *testing.F) {
	f.Add([]byte(token))
	f.Add([]byte(`{"token":"` + token + `","expires_in":1e3}`))
	f.Add([]byte(`{"token":5,"expires_at":"x"}`))
	f.Add([]byte("\ufeff {}"))
	f.Fuzz(func(t *testing.T, out []byte) {
		now := time.Now()
		tok, expires, err := parse(out, now, time.Minute)
		switch {
		case err != nil:
			if s := strings.TrimSpace(string(out)); len(s) > 16 && strings.Contains(err.Error(), s) {
				t.Errorf("%v quotes %q", err, out)
			}
		case checkToken(tok) != nil:
			t.Errorf("token %q from %q", tok, out)
		case !expires.After(now):
			t.Errorf("expired %v from %q", expires, out)
		}
	})
}
