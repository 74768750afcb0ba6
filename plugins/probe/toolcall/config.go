package toolcall

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/go-mcpool/mcpool/sdk/probe"
)

// Config says which tool is called and what it has to answer. Only Tool is
// required. The zero value of each other field means the default its comment gives.
type Config struct {
	// Tool is the tool's name. Required.
	Tool string `json:"tool"`
	// Arguments are those of the call. Default: none.
	Arguments map[string]any `json:"arguments,omitempty"`
	// Timeout is how long the answer may take. Keep it below the pool's own limit on
	// a probe, which is 5 s for sessions: past that one nothing can be told.
	// Default: 3 s.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Expect is what the answer has to be like. Default: no error.
	Expect Expect `json:"expect,omitzero"`
}

// Expect is what an answer has to be like. All that is set has to hold.
type Expect struct {
	// Path leads to a value in the result: names with dots between them and
	// elements in brackets, such as structuredContent.status or content[0].text. A
	// name with other characters is written in brackets and quotes: ["a.b"].
	Path string `json:"path,omitempty"`
	// Op compares that value with Value: "==" (also the default), "!=", "<", "<=",
	// ">", ">=" for numbers or for strings, "contains" for strings and arrays,
	// "matches" for a regular expression (RE2) on a string, "exists" and "absent".
	Op string `json:"op,omitempty"`
	// Value is what is compared with.
	Value any `json:"value,omitempty"`
	// Latency is how long the answer may take before the session is called
	// degraded. Default: no bound but Timeout.
	Latency time.Duration `json:"latency,omitempty"`
	// SchemaSHA256 is the SHA-256, in hexadecimal, of the tool's input and output
	// schemas; SchemaHash computes it. Default: any schema will do.
	SchemaSHA256 string `json:"schema_sha256,omitempty"`
}

// check fills in defaults and returns what was parsed, or all faults.
func (c *Config) check() (path []any, match *regexp.Regexp, err error) {
	var errs []error
	bad := func(field string, err error, format string, args ...any) {
		errs = append(errs, &probe.ConfigError{Field: field, Problem: fmt.Sprintf(format, args...), Err: err})
	}
	if c.Tool == "" {
		bad("Tool", nil, "is required: give the name of a tool that does no harm")
	}
	switch {
	case c.Timeout == 0:
		c.Timeout = 3 * time.Second
	case c.Timeout < 0:
		bad("Timeout", nil, "is negative: use 0 for the default")
	}
	e := &c.Expect
	if e.Latency < 0 || e.Latency > c.Timeout && c.Timeout > 0 {
		bad("Expect.Latency", nil, "is not between 0 and Timeout (%v)", c.Timeout)
	}
	if sum, err := hex.DecodeString(e.SchemaSHA256); err != nil || len(sum) != 0 && len(sum) != 32 {
		bad("Expect.SchemaSHA256", nil, "is not 64 hexadecimal digits")
	}
	if e.Path == "" {
		if e.Op != "" || e.Value != nil {
			bad("Expect.Path", nil, "is empty, and Op or Value is not")
		}
		return nil, nil, errors.Join(errs...)
	}
	if path, err = parsePath(e.Path); err != nil {
		bad("Expect.Path", err, "cannot be read")
	}
	if e.Value, err = plain(e.Value); err != nil {
		bad("Expect.Value", err, "is not a value of JSON")
	}
	switch _, number := e.Value.(float64); e.Op {
	case "":
		e.Op = "=="
	case "==", "!=", "contains":
	case "exists", "absent":
		if e.Value != nil {
			bad("Expect.Value", nil, "is set, and %q compares with nothing", e.Op)
		}
	case "<", "<=", ">", ">=":
		if _, text := e.Value.(string); !number && !text {
			bad("Expect.Value", nil, "is neither a number nor a string, which %q needs", e.Op)
		}
	case "matches":
		text, ok := e.Value.(string)
		if !ok {
			bad("Expect.Value", nil, "is no string with a regular expression")
		} else if match, err = regexp.Compile(text); err != nil {
			bad("Expect.Value", err, "is no regular expression")
		}
	default:
		bad("Expect.Op", nil, "is %q: use one of == != < <= > >= contains matches exists absent", e.Op)
	}
	return path, match, errors.Join(errs...)
}

// plain is a value as JSON would have it, with all numbers alike.
func plain(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what it is about
	}
	var out any
	return out, json.Unmarshal(b, &out)
}
