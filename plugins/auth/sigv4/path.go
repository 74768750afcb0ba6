package sigv4

import (
	"errors"
	"strings"
)

// splitURL takes an absolute URL apart without touching an escape.
func splitURL(raw string) (path, query string, err error) {
	_, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", "", errors.New("its URL is not absolute")
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ = strings.Cut(rest, "?")
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		path = rest[i:]
	}
	if path == "" {
		path = "/"
	}
	return path, query, nil
}

func hostOf(raw string) string {
	_, rest, _ := strings.Cut(raw, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest[strings.LastIndexByte(rest, '@')+1:]
}

// canonicalPath is the path in the form that the signer expects to be given: with
// dot segments and empty ones resolved, and, where it will not be escaped once more,
// with everything escaped that has to be.
func (cfg *Config) canonicalPath(path string) string {
	if !cfg.KeepPath {
		path = resolve(path)
	}
	if cfg.SingleEncodedPath {
		path = escapeOnce(path)
	}
	return path
}

// resolve removes empty and dot segments (RFC 3986, 5.2.4), keeping a final slash.
func resolve(path string) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		return path
	}
	var out []string
	segments := strings.Split(path, "/")
	for _, s := range segments {
		switch s {
		case "", ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return "/"
	}
	resolved := "/" + strings.Join(out, "/")
	switch segments[len(segments)-1] {
	case "", ".", "..":
		resolved += "/"
	}
	return resolved
}

// escapeOnce gives every byte the one form it has in a canonical path, whatever
// its form was: unreserved ones and slashes bare, all others escaped.
func escapeOnce(path string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]) {
			c = unhex(path[i+1])<<4 | unhex(path[i+2])
			i += 2
		}
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// parsable reports whether url.ParseQuery takes all of a query.
func parsable(query string) bool {
	for i := range len(query) {
		switch query[i] {
		case ';':
			return false
		case '%':
			if i+2 >= len(query) || !isHex(query[i+1]) || !isHex(query[i+2]) {
				return false
			}
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20) - 'a' + 10
}
