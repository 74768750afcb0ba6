package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
)

// SecretSource says where a secret comes from. Secrets themselves have no place in a
// configuration file.
type SecretSource struct {
	// From is "env:NAME", a variable of the host's environment; "file:/path", the
	// contents of a file; or "command:/path arguments", what a program prints. The
	// program is run without a shell and its arguments are separated by spaces; nobody
	// but its owner may be able to write to it. A line break at the end is not part of the
	// secret. Required.
	From string `json:"from" jsonschema:"env:NAME, file:/absolute/path or command:/absolute/path arguments"`
}

const (
	maxSecret      = 64 << 10
	commandTimeout = 30 * time.Second
	howSecrets     = `write {"from": "env:NAME"}, "file:/path" or "command:/path arguments"` //nolint:gosec // it is none
)

// check says what is wrong with the form, or nothing. It does not show From: somebody
// may have written the secret itself there.
func (s SecretSource) check() string {
	scheme, rest, _ := strings.Cut(s.From, ":")
	switch scheme {
	case "env":
		if rest == "" || strings.ContainsAny(rest, "=\x00") {
			return `does not name a variable: write "env:NAME"`
		}
	case "file":
		if !filepath.IsAbs(rest) || strings.ContainsRune(rest, 0) {
			return `does not name a file: write "file:/absolute/path"`
		}
	case "command":
		if args := strings.Fields(rest); len(args) == 0 || !filepath.IsAbs(args[0]) || strings.ContainsRune(rest, 0) {
			return `does not name a program: write "command:/absolute/path arguments"`
		}
	default:
		return "is not a source of secrets: " + howSecrets
	}
	return ""
}

// fetch gets the secret. Its errors do not show it.
func (s SecretSource) fetch(ctx context.Context) (auth.Secret, error) {
	scheme, rest, _ := strings.Cut(s.From, ":")
	var value []byte
	var err error
	switch scheme {
	case "env":
		v, ok := os.LookupEnv(rest)
		if !ok {
			return auth.Secret{}, fmt.Errorf("names %s, which is not set", variable(rest))
		}
		value = []byte(v)
	case "file":
		value, err = readSecret(rest)
	default:
		value, err = runForSecret(ctx, strings.Fields(rest))
	}
	if err != nil {
		return auth.Secret{}, err
	}
	value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	if len(value) == 0 {
		return auth.Secret{}, errors.New("is a source that gave nothing")
	}
	return auth.NewSecret(string(value)), nil
}

// variable calls one by its name if it looks like one: somebody may have written the
// secret there.
func variable(name string) string {
	if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return "a variable"
	}
	return "the variable " + name
}

func readSecret(path string) ([]byte, error) {
	f, err := openFile(path)
	if errors.Is(err, errNoFile) {
		err = fmt.Errorf("it %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("names a file that cannot be used: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err == nil && info.Size() > maxSecret {
		err = errors.New("it is larger than 64 KiB")
	}
	if err != nil {
		return nil, fmt.Errorf("names a file that cannot be used: %w", err)
	}
	value, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, fmt.Errorf("names a file that cannot be read: %w", err)
	}
	return value, nil
}

// runForSecret runs a program. What it says on standard error is not repeated, because
// nobody knows what is in it.
func runForSecret(ctx context.Context, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the operator named it
	info, err := os.Stat(cmd.Path)
	if err == nil {
		if problem := writableByOthers(cmd.Path, info); problem != "" {
			err = errors.New("it " + problem + ", and would run with the rights of this program: take that permission away (chmod go-w)")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("names the program %s, which cannot be used: %w", args[0], err)
	}
	out := &capped{cancel: cancel}
	cmd.Stdout, cmd.SysProcAttr, cmd.WaitDelay = out, procAttr(), 2*time.Second
	cmd.Cancel = func() error { killGroup(cmd.Process.Pid); return nil }
	err = cmd.Run()
	switch {
	case out.over:
		err = errors.New("it printed more than 64 KiB")
	case ctx.Err() != nil:
		err = fmt.Errorf("it did not end in time: %w", ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("names the program %s, which failed: %w", args[0], err)
	}
	return out.buf.Bytes(), nil
}

// capped keeps what is printed, and ends the program that prints too much.
type capped struct {
	buf    bytes.Buffer
	over   bool
	cancel context.CancelFunc
}

func (c *capped) Write(b []byte) (int, error) {
	if c.buf.Len()+len(b) > maxSecret {
		c.over = true
		c.cancel()
		return 0, errors.New("too much")
	}
	return c.buf.Write(b)
}

// explainSecrets adds how secrets are written to the fault that one stands in the file.
func explainSecrets(err error) error {
	all := unjoin(err)
	for i, fault := range all {
		fe, ok := errors.AsType[*config.FieldError](fault)
		if ok && strings.HasPrefix(fe.Field, "instances.") && strings.Contains(fe.Field, ".secrets.") && fe.Problem == "is not an object" {
			all[i] = &config.FieldError{Field: fe.Field, Problem: fe.Problem + ": secrets do not stand in this file, " + howSecrets}
		}
	}
	return errors.Join(all...)
}
