package main

import (
	"fmt"
	"regexp"
	"strings"
)

// ref names a piece of code: a file, and a function or region in it.
type ref struct {
	File string
	Name string // empty: the whole file
}

var (
	marker = regexp.MustCompile(`^<!-- snippet: (\S+)(?: (\S+))? -->$`)
	// opening matches a line that may begin a fenced block, and its fence.
	opening = regexp.MustCompile("^ {0,3}(`{3,}|~{3,})(.*)$")
)

// fill returns the Markdown text with the block after each marker replaced by
// the code that get finds for it. Its errors begin with a line number.
func fill(text string, get func(ref) (string, error)) (string, error) {
	var (
		out     []string
		pending *ref // a marker whose block has not come yet
		where   int  // the line of that marker
	)
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		fence := opening.FindStringSubmatch(line)
		switch {
		case fence != nil:
			end := closing(lines, i+1, fence[1])
			if end < 0 {
				return "", fmt.Errorf("%d: code block does not end", i+1)
			}
			block := lines[i+1 : end]
			if pending != nil {
				if line != "```go" {
					return "", fmt.Errorf("%d: the block after a snippet marker must begin with ```go", i+1)
				}
				code, err := get(*pending)
				if err != nil {
					return "", fmt.Errorf("%d: %w", where, err)
				}
				block = strings.Split(code, "\n")
				pending = nil
			}
			out = append(out, line)
			out = append(out, block...)
			out = append(out, lines[end])
			i = end
			continue
		case strings.HasPrefix(line, "<!-- snippet:"):
			m := marker.FindStringSubmatch(line)
			if m == nil {
				return "", fmt.Errorf("%d: malformed marker, want <!-- snippet: FILE NAME -->", i+1)
			}
			if pending != nil {
				return "", fmt.Errorf("%d: no code block follows the snippet marker", where)
			}
			pending, where = &ref{File: m[1], Name: m[2]}, i+1
		case pending != nil && strings.TrimSpace(line) != "":
			return "", fmt.Errorf("%d: no code block follows the snippet marker", where)
		}
		out = append(out, line)
	}
	if pending != nil {
		return "", fmt.Errorf("%d: no code block follows the snippet marker", where)
	}
	return strings.Join(out, "\n"), nil
}

// closing returns the index of the line from start on that ends a block opened
// with fence, or -1.
func closing(lines []string, start int, fence string) int {
	for i := start; i < len(lines); i++ {
		s := strings.TrimSpace(lines[i])
		if len(s) >= len(fence) && strings.Trim(s, fence[:1]) == "" {
			return i
		}
	}
	return -1
}
