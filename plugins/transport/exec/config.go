package exec

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// Config says which command is run. Only Command is required. The zero value of
// each other field means the default its comment gives.
type Config struct {
	// Command is the program and its arguments, with ${name} for values. A program
	// without a slash is looked for in PATH, once, by New. Required.
	Command []string `json:"command"`
	// After is a command that is run when a session is over, within StopTimeout, to
	// end what runs elsewhere. It takes the same values. Default: none.
	After []string `json:"after,omitempty"`
	// Values are what ${name} stands for in both.
	Values map[string]string `json:"values,omitempty"`
	// Env is added to the environment.
	Env map[string]auth.Secret `json:"env,omitempty"`
	// CleanEnv leaves the environment of this process out, but for PATH and HOME.
	CleanEnv bool `json:"clean_env,omitempty"`
	// Dir is where it runs. Default: this process's directory.
	Dir string `json:"dir,omitempty"`
	// StopTimeout is how long the command may take to end after its stdin was
	// closed, and again after SIGTERM, before it is killed. Default: 500 ms.
	StopTimeout time.Duration `json:"stop_timeout,omitempty"`
	// SendTimeout is how long one message may be stuck because the program does not
	// read. Default: 1 min. -1: no limit.
	SendTimeout time.Duration `json:"send_timeout,omitempty"`
}

// placeholder is ${name}.
var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// check fills in defaults and returns all faults.
func (c *Config) check() error {
	var errs []error
	bad := func(field string, err error, format string, args ...any) {
		errs = append(errs, &transport.ConfigError{Field: field, Problem: fmt.Sprintf(format, args...), Err: err})
	}
	if len(c.Command) == 0 {
		bad("Command", nil, "is required: give the program and its arguments")
	}
	for field, args := range map[string][]string{"Command": c.Command, "After": c.After} {
		for i, arg := range args {
			for _, m := range placeholder.FindAllStringSubmatch(arg, -1) {
				if !c.known(m[1]) {
					bad(field, nil, "has ${%s}, which is neither in Values nor one of the names that a session has", m[1])
				}
			}
			if i == 0 {
				if path, err := exec.LookPath(arg); err != nil {
					bad(field, err, "has a program that cannot be run")
				} else {
					args[0] = path
				}
			}
		}
	}
	for name := range c.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			bad("Env", nil, "has a name that is none: %q", name)
		}
	}
	if c.Dir != "" {
		if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
			bad("Dir", err, "is not a directory")
		}
	}
	switch {
	case c.StopTimeout == 0:
		c.StopTimeout = 500 * time.Millisecond
	case c.StopTimeout < 0:
		bad("StopTimeout", nil, "is negative: use 0 for the default")
	}
	switch {
	case c.SendTimeout == 0:
		c.SendTimeout = time.Minute
	case c.SendTimeout == -1:
		c.SendTimeout = 0
	case c.SendTimeout < 0:
		bad("SendTimeout", nil, "is negative: use 0 for the default or -1 for none")
	}
	return errors.Join(errs...)
}

func (c *Config) known(name string) bool {
	if _, ok := c.Values[name]; ok {
		return true
	}
	switch name {
	case "target.name", "target.url", "identity.id", "session":
		return true
	}
	return strings.HasPrefix(name, "identity.attrs.")
}

// expand fills in the values of a session.
func (c *Config) expand(args []string, open transport.Open, session string) ([]string, error) {
	var bad error
	value := func(name string) (string, bool) {
		if v, ok := c.Values[name]; ok {
			return v, true
		}
		switch name {
		case "target.name":
			return open.Target.Name, true
		case "target.url":
			return open.Target.URL, true
		case "identity.id":
			return open.Identity.ID, true
		case "session":
			return session, true
		}
		v, ok := open.Identity.Attrs[strings.TrimPrefix(name, "identity.attrs.")]
		return v, ok
	}
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = placeholder.ReplaceAllStringFunc(arg, func(m string) string {
			v, ok := value(m[2 : len(m)-1])
			switch {
			case !ok:
				bad = &transport.ConfigError{Field: "Command", Problem: "needs " + m + ", which this identity does not have"}
			case strings.HasPrefix(v, "-") && strings.HasPrefix(arg, m):
				bad = &transport.ConfigError{Field: "Command", Problem: "has an argument that begins with " + m + ", and its value begins with a dash"}
			case strings.ContainsRune(v, 0):
				bad = &transport.ConfigError{Field: "Command", Problem: "needs " + m + ", whose value has a zero byte in it"}
			}
			return v
		})
	}
	return out, bad
}
