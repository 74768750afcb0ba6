package toolcall

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/probe"
)

var _ probe.Prober = (*Prober)(nil)

// Prober calls a tool. It is immutable and may be used from any number of
// goroutines.
type Prober struct {
	cfg   Config
	call  json.RawMessage // the params of the call
	path  []any
	match *regexp.Regexp
}

// New returns a Prober, or all faults of cfg as *probe.ConfigError.
func New(cfg Config) (*Prober, error) {
	path, match, err := cfg.check()
	if err != nil {
		return nil, err
	}
	params, err := json.Marshal(map[string]any{"name": cfg.Tool, "arguments": orEmpty(cfg.Arguments)})
	if err != nil {
		return nil, &probe.ConfigError{Field: "Arguments", Problem: "are not JSON", Err: err}
	}
	return &Prober{cfg: cfg, call: params, path: path, match: match}, nil
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// Probe calls the tool once, after a look at its schemas if those matter.
func (p *Prober) Probe(ctx context.Context, target probe.Target) (probe.Verdict, error) {
	if !target.Describe().Lists("tools/call") {
		return unknown("the target has no tools/call"), nil
	}
	within, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	if p.cfg.Expect.SchemaSHA256 != "" {
		if v, err := p.checkSchema(ctx, within, target); err != nil || v.Status != probe.Healthy {
			return v, err
		}
	}
	began := time.Now()
	raw, err := target.Call(within, "tools/call", p.call)
	took := time.Since(began)
	if err != nil {
		return p.failed(ctx, within, err)
	}
	var result any
	if err := json.Unmarshal(raw, &result); err != nil {
		return unhealthy("the answer is not JSON"), nil
	}
	if object, ok := result.(map[string]any); ok && object["isError"] == true {
		return unhealthy("tool %s failed", p.cfg.Tool), nil
	}
	if p.path != nil && !p.holds(result) {
		return unhealthy("%s of tool %s is not as expected (%s)", p.cfg.Expect.Path, p.cfg.Tool, p.cfg.Expect.Op), nil
	}
	if limit := p.cfg.Expect.Latency; limit > 0 && took > limit {
		return probe.Verdict{Status: probe.Degraded, Reason: fmt.Sprintf("tool %s took %v, more than %v", p.cfg.Tool, took.Round(time.Microsecond), limit)}, nil
	}
	return probe.Verdict{Status: probe.Healthy}, nil
}

// failed says what a call without an answer means.
func (p *Prober) failed(ctx, within context.Context, err error) (probe.Verdict, error) {
	var answered *probe.CallError
	switch {
	case ctx.Err() != nil: // from outside: it says nothing of the target
		return unknown("the probe was cut short"), context.Cause(ctx)
	case within.Err() != nil:
		return unhealthy("no answer within %v", p.cfg.Timeout), nil //nolint:nilerr // a verdict, not a fault of the probe
	case errors.Is(err, probe.ErrNotListed):
		return unknown("the target does not take the call"), nil
	case errors.As(err, &answered):
		return unhealthy("tool %s: error %d", p.cfg.Tool, answered.Code), nil
	}
	return unhealthy("no answer: the connection failed"), nil
}

func unknown(reason string) probe.Verdict {
	return probe.Verdict{Status: probe.Unknown, Reason: reason}
}

func unhealthy(format string, args ...any) probe.Verdict {
	return probe.Verdict{Status: probe.Unhealthy, Reason: fmt.Sprintf(format, args...)}
}

// holds compares the value at the path.
func (p *Prober) holds(result any) bool {
	got, there := follow(result, p.path)
	want := p.cfg.Expect.Value
	switch op := p.cfg.Expect.Op; op {
	case "exists":
		return there
	case "absent":
		return !there
	case "!=":
		return there && !reflect.DeepEqual(got, want)
	case "contains":
		return there && contains(got, want)
	case "matches":
		text, ok := got.(string)
		return ok && p.match.MatchString(text)
	case "==":
		return there && reflect.DeepEqual(got, want)
	default:
		return there && ordered(op, got, want)
	}
}

func contains(got, want any) bool {
	switch got := got.(type) {
	case string:
		text, ok := want.(string)
		return ok && strings.Contains(got, text)
	case []any:
		for _, element := range got {
			if reflect.DeepEqual(element, want) {
				return true
			}
		}
	}
	return false
}

func ordered(op string, got, want any) bool {
	c := 0
	switch want := want.(type) {
	case float64:
		n, ok := got.(float64)
		if !ok {
			return false
		}
		c = cmp.Compare(n, want)
	case string:
		text, ok := got.(string)
		if !ok {
			return false
		}
		c = strings.Compare(text, want)
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	default:
		return c >= 0
	}
}

// tool is what matters of a tool in a list.
type tool struct {
	Name         string          `json:"name"`
	InputSchema  json.RawMessage `json:"inputSchema"`
	OutputSchema json.RawMessage `json:"outputSchema"`
}

// checkSchema looks for the tool in the list and compares its schemas.
func (p *Prober) checkSchema(ctx, within context.Context, target probe.Target) (probe.Verdict, error) {
	for cursor := ""; ; {
		params, _ := json.Marshal(map[string]string{"cursor": cursor}) //nolint:errchkjson // a map of strings
		if cursor == "" {
			params = nil
		}
		raw, err := target.Call(within, "tools/list", params)
		if err != nil {
			return p.failed(ctx, within, err)
		}
		var page struct {
			Tools      []tool `json:"tools"`
			NextCursor string `json:"nextCursor"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return unhealthy("the list of tools cannot be read"), nil //nolint:nilerr // likewise
		}
		for _, t := range page.Tools {
			if t.Name != p.cfg.Tool {
				continue
			}
			sum, err := SchemaHash(t.InputSchema, t.OutputSchema)
			if err != nil || !strings.EqualFold(sum, p.cfg.Expect.SchemaSHA256) {
				return unhealthy("the schemas of tool %s are others: %s", p.cfg.Tool, sum), nil //nolint:nilerr // likewise
			}
			return probe.Verdict{Status: probe.Healthy}, nil
		}
		if page.NextCursor == "" || page.NextCursor == cursor {
			return unhealthy("there is no tool %s", p.cfg.Tool), nil
		}
		cursor = page.NextCursor
		if within.Err() != nil { // pages that come at once may have no end
			return p.failed(ctx, within, within.Err())
		}
	}
}

// SchemaHash returns the SHA-256, in hexadecimal, of a tool's schemas as JSON. The
// order of names and white space make no difference; a schema that is missing is
// nil.
func SchemaHash(input, output json.RawMessage) (string, error) {
	var both [2]any
	for i, raw := range []json.RawMessage{input, output} {
		if len(raw) == 0 {
			continue
		}
		if err := json.Unmarshal(raw, &both[i]); err != nil {
			return "", fmt.Errorf("toolcall: the schema is not JSON: %w", err)
		}
	}
	b, err := json.Marshal(both) // with the names in order
	if err != nil {
		return "", fmt.Errorf("toolcall: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
