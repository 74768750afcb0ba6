package ssh

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// Config says which command is run, where and as whom. Address, User and Command
// are required. The zero value of each other field means the default its comment
// gives.
type Config struct {
	// Address is the server, as host or host:port. Required.
	Address string `json:"address"`
	// User is the account there. Required.
	User string `json:"user"`
	// Command is the program and its arguments; each arrives as it is. Required.
	Command []string `json:"command"`
	// KnownHosts are files of known_hosts. Default: ~/.ssh/known_hosts.
	KnownHosts []string `json:"known_hosts,omitempty"`
	// KeyFiles hold private keys. They are read at each Dial.
	KeyFiles []string `json:"key_files,omitempty"`
	// Passphrase opens those of them that are encrypted.
	Passphrase auth.Secret `json:"passphrase,omitzero"`
	// Agent is the socket of an agent. Default: what SSH_AUTH_SOCK says if there are
	// no KeyFiles. "-": none.
	Agent string `json:"agent,omitempty"`
	// DialTimeout bounds connecting and the handshake. Default: 10 s.
	DialTimeout time.Duration `json:"dial_timeout,omitempty"`
	// KeepAlive is how often the server has to give a sign of life, asked for by a
	// request. Default: 15 s. -1: never asked.
	KeepAlive time.Duration `json:"keep_alive,omitempty"`
	// KeepAliveTimeout is how long it may take to. Default: 15 s.
	KeepAliveTimeout time.Duration `json:"keep_alive_timeout,omitempty"`
	// StopTimeout is how long the command may take to end after its stdin was
	// closed, and again after SIGTERM, before it is killed. Default: 1 s.
	StopTimeout time.Duration `json:"stop_timeout,omitempty"`
	// SendTimeout is how long one message may be stuck. Default: 1 min. -1: no limit.
	SendTimeout time.Duration `json:"send_timeout,omitempty"`
	// Unwatched runs the command as it is; see the package comment.
	Unwatched bool `json:"unwatched,omitempty"`
}

// check fills in defaults and returns all faults.
func (c *Config) check() (*trust, error) {
	var errs []error
	bad := func(field string, err error, problem string) {
		errs = append(errs, &transport.ConfigError{Field: field, Problem: problem, Err: err})
	}
	if c.Address == "" {
		bad("Address", nil, "is required: give host or host:port")
	} else if _, _, err := net.SplitHostPort(c.Address); err != nil {
		c.Address = net.JoinHostPort(c.Address, "22")
	}
	if c.User == "" {
		bad("User", nil, "is required")
	}
	if len(c.Command) == 0 || c.Command[0] == "" {
		bad("Command", nil, "is required: give the program and its arguments")
	}
	if len(c.KnownHosts) == 0 {
		home, err := os.UserHomeDir()
		if err != nil {
			bad("KnownHosts", err, "is required where there is no home directory")
		}
		c.KnownHosts = []string{filepath.Join(home, ".ssh", "known_hosts")}
	}
	known, err := readTrust(c.KnownHosts)
	if err != nil {
		bad("KnownHosts", err, "cannot be used")
	}
	switch {
	case c.Agent == "-":
		c.Agent = ""
	case c.Agent == "" && len(c.KeyFiles) == 0:
		c.Agent = os.Getenv("SSH_AUTH_SOCK")
	}
	if c.Agent == "" && len(c.KeyFiles) == 0 {
		bad("KeyFiles", nil, "is required where there is no agent")
	}
	for _, f := range []struct {
		field string
		v     *time.Duration
		zero  time.Duration
		off   bool
	}{
		{"DialTimeout", &c.DialTimeout, 10 * time.Second, false},
		{"KeepAlive", &c.KeepAlive, 15 * time.Second, true},
		{"KeepAliveTimeout", &c.KeepAliveTimeout, 15 * time.Second, false},
		{"StopTimeout", &c.StopTimeout, time.Second, false},
		{"SendTimeout", &c.SendTimeout, time.Minute, true},
	} {
		switch {
		case *f.v == 0:
			*f.v = f.zero
		case *f.v == -1 && f.off:
			*f.v = 0
		case *f.v < 0:
			bad(f.field, nil, "is negative: use 0 for the default")
		}
	}
	return known, errors.Join(errs...)
}

// keys reads the files. A file that cannot be used is an error of its own: a key
// that is silently left out would be looked for at the server.
func (c *Config) keys() ([]ssh.Signer, error) {
	var signers []ssh.Signer
	for _, file := range c.KeyFiles {
		pem, err := os.ReadFile(file) //nolint:gosec // the config names it
		if err != nil {
			return nil, &transport.ConfigError{Field: "KeyFiles", Problem: "has one that cannot be read", Err: err}
		}
		signer, err := ssh.ParsePrivateKey(pem)
		var missing *ssh.PassphraseMissingError
		if errors.As(err, &missing) && !c.Passphrase.IsEmpty() {
			signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(c.Passphrase.Reveal()))
		}
		if err != nil {
			return nil, &transport.ConfigError{Field: "KeyFiles", Problem: fmt.Sprintf("has %s, which cannot be used", file), Err: err}
		}
		signers = append(signers, signer)
	}
	return signers, nil
}
