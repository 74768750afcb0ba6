package bearer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

const (
	maxOutput = 2 * maxToken
	maxStderr = 4 << 10
	waitDelay = 2 * time.Second // for the pipes, when a grandchild keeps them open
)

func (c *Command) set() bool {
	return len(c.Args) > 0 || c.Env != nil || c.Dir != "" || c.Timeout != 0 || c.TTL != 0
}

func (c *Command) setDefaults() (errs []error) {
	bad := func(field, problem string, err error) {
		errs = append(errs, &auth.ConfigError{Field: "Command." + field, Problem: problem, Err: err})
	}
	c.Args, c.Env = slices.Clone(c.Args), slices.Clone(c.Env)
	if len(c.Args) == 0 || c.Args[0] == "" {
		bad("Args", "name no program", nil)
	} else if path, err := exec.LookPath(c.Args[0]); err != nil {
		bad("Args", "name a program that cannot be run", err)
	} else {
		c.Args[0] = path
	}
	for i, kv := range c.Env {
		if strings.IndexByte(kv, '=') < 1 || strings.IndexByte(kv, 0) >= 0 {
			bad(fmt.Sprintf("Env[%d]", i), "is not name=value", nil)
		}
	}
	if c.Dir != "" {
		if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
			bad("Dir", fmt.Sprintf("= %s is not a directory", c.Dir), nil)
		}
	}
	switch {
	case c.Timeout < 0:
		bad("Timeout", fmt.Sprintf("= %v is negative", c.Timeout), nil)
	case c.Timeout == 0:
		c.Timeout = 30 * time.Second
	}
	switch {
	case c.TTL < 0 && c.TTL != -1:
		bad("TTL", fmt.Sprintf("= %v is negative", c.TTL), nil)
	case c.TTL == 0:
		c.TTL = 5 * time.Minute
	}
	return errs
}

// run runs the command once. It ends with ctx, with the provider, or at its timeout.
func (p *Provider) run(ctx context.Context) (auth.Secret, time.Time, error) {
	c := &p.cfg.Command
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...) //nolint:gosec // the command in the configuration
	cmd.Env, cmd.Dir, cmd.WaitDelay = c.Env, c.Dir, waitDelay
	killGroup(cmd)
	stdout, stderr := &bounded{max: maxOutput, full: cancel}, &tail{max: maxStderr}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	switch {
	case p.ctx.Err() != nil:
		return auth.Secret{}, time.Time{}, auth.ErrClosed
	case stdout.over:
		return auth.Secret{}, time.Time{}, fmt.Errorf("command %s printed more than %d bytes", c.Args[0], maxOutput)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return auth.Secret{}, time.Time{}, fmt.Errorf("command %s did not end within %v%s: %w", c.Args[0], c.Timeout, stderr.report(stdout.buf.Bytes()), context.DeadlineExceeded)
	case ctx.Err() != nil:
		return auth.Secret{}, time.Time{}, fmt.Errorf("command %s: %w", c.Args[0], ctx.Err())
	case err != nil:
		return auth.Secret{}, time.Time{}, fmt.Errorf("command %s: %w%s", c.Args[0], err, stderr.report(stdout.buf.Bytes()))
	}
	token, expires, err := parse(stdout.buf.Bytes(), time.Now(), c.TTL)
	if err != nil {
		return auth.Secret{}, time.Time{}, fmt.Errorf("command %s: %w", c.Args[0], err)
	}
	return auth.NewSecret(token), expires, nil
}

// parse reads the output of a command. Its errors do not quote it.
func parse(out []byte, now time.Time, ttl time.Duration) (token string, expires time.Time, err error) {
	token = trim(out)
	if ttl > 0 {
		expires = now.Add(ttl)
	}
	if strings.HasPrefix(token, "{") {
		var o struct {
			Token       string      `json:"token"`
			AccessToken string      `json:"access_token"`
			ExpiresAt   string      `json:"expires_at"`
			ExpiresIn   json.Number `json:"expires_in"`
		}
		if err := json.Unmarshal([]byte(token), &o); err != nil {
			return "", time.Time{}, errors.New("its output begins like JSON and is not the object it should be")
		}
		token = o.Token
		if token == "" {
			token = o.AccessToken
		}
		switch {
		case o.ExpiresAt != "":
			if expires, err = time.Parse(time.RFC3339, o.ExpiresAt); err != nil {
				return "", time.Time{}, errors.New("expires_at in its output is not RFC 3339")
			}
		case o.ExpiresIn != "":
			seconds, err := o.ExpiresIn.Float64()
			if err != nil || !(seconds > 0 && seconds < 1e9) {
				return "", time.Time{}, errors.New("expires_in in its output is not a sensible number of seconds")
			}
			expires = now.Add(time.Duration(seconds * float64(time.Second)))
		}
		if !expires.IsZero() && !expires.After(now) {
			return "", time.Time{}, fmt.Errorf("its token expired at %s", expires.UTC().Format(time.RFC3339))
		}
	}
	if err := checkToken(token); err != nil {
		return "", time.Time{}, fmt.Errorf("the token in its output %w", err)
	}
	return token, expires, nil
}

// bounded keeps output up to a limit and ends the command beyond it.
type bounded struct {
	buf  bytes.Buffer
	max  int
	over bool
	full func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.max {
		b.over = true
		b.full()
		return 0, errors.New("too much output")
	}
	return b.buf.Write(p)
}

// tail keeps the end of what was written.
type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if len(t.buf) > t.max {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.max:]...)
	}
	return len(p), nil
}

// report is the last line, for an error, without what is or may be a token: a line
// that repeats anything from the command's output is left out, and so is each word
// that is as long and mixed as tokens are.
func (t *tail) report(stdout []byte) string {
	lines := strings.Split(strings.TrimSpace(string(t.buf)), "\n")
	line := strings.TrimSpace(lines[len(lines)-1])
	if line == "" {
		return ""
	}
	for _, word := range strings.FieldsFunc(string(stdout), isDelimiter) {
		if len(word) >= 4 && strings.Contains(line, word) {
			return "; what it wrote to stderr repeats its output and is left out"
		}
	}
	line = line[max(0, len(line)-512):]
	for _, word := range strings.FieldsFunc(line, isDelimiter) {
		if looksSecret(word) {
			line = strings.ReplaceAll(line, word, "[redacted]")
		}
	}
	return fmt.Sprintf("; it wrote %q", line)
}

func isDelimiter(r rune) bool { return strings.ContainsRune(" \t\r\n\"'`,:;=(){}[]<>", r) }

// looksSecret reports whether a word is long and has letters and digits. Paths are
// long too: a word with slashes has to be longer.
func looksSecret(word string) bool {
	enough := 16
	if strings.Contains(word, "/") {
		enough = 40
	}
	return len(word) >= enough && strings.ContainsAny(word, "0123456789") &&
		strings.ContainsFunc(word, func(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' })
}
