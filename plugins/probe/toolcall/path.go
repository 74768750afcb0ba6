package toolcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parsePath reads a path into names (string) and elements (int).
func parsePath(text string) ([]any, error) {
	var path []any
	rest := strings.TrimPrefix(text, "$")
	rest = strings.TrimPrefix(rest, ".")
	for first := true; rest != ""; first = false {
		switch {
		case strings.HasPrefix(rest, `["`):
			quoted, err := strconv.QuotedPrefix(rest[1:])
			if err != nil || !strings.HasPrefix(rest[1+len(quoted):], "]") {
				return nil, fmt.Errorf(`no "] ends what begins at %q`, rest)
			}
			var name string
			if json.Unmarshal([]byte(quoted), &name) != nil {
				return nil, fmt.Errorf("%s is no string of JSON", quoted)
			}
			path, rest = append(path, name), rest[len(quoted)+2:]
		case rest[0] == '[':
			digits, after, ok := strings.Cut(rest[1:], "]")
			n, err := strconv.ParseUint(digits, 10, 31)
			if !ok || err != nil {
				return nil, fmt.Errorf("%q is no element: write a number in brackets", rest)
			}
			path, rest = append(path, int(n)), after
		default:
			if !first {
				if rest[0] != '.' {
					return nil, fmt.Errorf("a dot is missing before %q", rest)
				}
				rest = rest[1:]
			}
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			if end == 0 {
				return nil, errors.New("a name is missing")
			}
			path, rest = append(path, rest[:end]), rest[end:]
		}
	}
	if len(path) == 0 {
		return nil, errors.New("it leads nowhere")
	}
	return path, nil
}

// follow returns the value at the end of a path.
func follow(v any, path []any) (any, bool) {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, ok := v.(map[string]any)
			if !ok {
				return nil, false
			}
			if v, ok = object[step]; !ok {
				return nil, false
			}
		case int:
			array, ok := v.([]any)
			if !ok || step >= len(array) {
				return nil, false
			}
			v = array[step]
		}
	}
	return v, true
}
