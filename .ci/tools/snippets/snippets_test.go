package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const exampleFile = `// Copyright someone.

// Package pool_test shows it.
package pool_test

import "fmt"

func ExamplePool() {
	for range 2 {
		fmt.Println("hi") // Output: is no comment of its own here
	}
	text := ` + "`a\nb`" + `
	_ = text

	// Output:
	// hi
	// hi
}

func Example_oneLine() { fmt.Println() }

func setup() {
	// snippet:begin count
	a := 1
	if a > 0 {
		a++
	}
	// snippet:end count
	b := 2
	// snippet:begin open
}

type T struct{}

func (T) Method() {}
`

// repository returns a folder with the given files, exampleFile among them.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	all := map[string]string{"pool/example_test.go": exampleFile}
	maps.Copy(all, files)
	for name, text := range all {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestExtractReturnsTheNamedCode(t *testing.T) {
	t.Parallel()
	root := repository(t, nil)
	for name, want := range map[string]string{
		"ExamplePool": "for range 2 {\n\tfmt.Println(\"hi\") // Output: is no comment of its own here\n}\n" +
			"text := `a\nb`\n_ = text",
		"Example_oneLine": "fmt.Println()",
		"setup":           "a := 1\nif a > 0 {\n\ta++\n}\nb := 2",
		"count":           "a := 1\nif a > 0 {\n\ta++\n}",
	} {
		got, err := extract(root, ref{File: "pool/example_test.go", Name: name})
		if err != nil {
			t.Errorf("%q: %v", name, err)
		} else if got != want {
			t.Errorf("%q: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestExtractWithoutANameReturnsTheFileFromItsPackageClause(t *testing.T) {
	t.Parallel()
	root := repository(t, map[string]string{"main.go": "//go:build linux\n\n// Command main.\npackage main\n\nfunc main() {\n\tx()\n}\n"})
	got, err := extract(root, ref{File: "main.go"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "package main\n\nfunc main() {\n\tx()\n}"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestExtractRefusesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	root := repository(t, map[string]string{"bad.go": "package"})
	for r, want := range map[ref]string{
		{File: "pool/example_test.go", Name: "Missing"}: "no function or region called Missing",
		{File: "pool/example_test.go", Name: "Method"}:  "no function or region called Method",
		{File: "pool/example_test.go", Name: "open"}:    "region open does not end",
		{File: "none.go", Name: "A"}:                    "none.go",
		{File: "../secret.go", Name: "A"}:               "not inside the repository",
		{File: "bad.go", Name: "A"}:                     "bad.go",
	} {
		_, err := extract(root, r)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want an error with %q", r, err, want)
		}
	}
}

func TestFillReplacesOnlyMarkedBlocks(t *testing.T) {
	t.Parallel()
	const text = "# Title\n\n<!-- snippet: a.go F -->\n\n```go\nold\n```\n\n" +
		"```go\nmine\n```\n\n" +
		"````md\n<!-- snippet: x.go X -->\n```go\nshown\n```\n````\n"
	got, err := fill(text, func(r ref) (string, error) {
		if r != (ref{File: "a.go", Name: "F"}) {
			t.Errorf("asked for %v", r)
		}
		return "new()\nmore()", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(text, "old", "new()\nmore()", 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFillRefusesMarkersWithoutABlock(t *testing.T) {
	t.Parallel()
	const mark = "<!-- snippet: a.go F -->\n"
	for text, want := range map[string]string{
		mark:                           "1: no code block follows",
		mark + "words\n```go\n```\n":   "1: no code block follows",
		mark + mark + "```go\n```\n":   "1: no code block follows",
		mark + "```sh\nls\n```\n":      "2: the block after a snippet marker must begin with ```go",
		mark + "```go\nopen\n":         "2: code block does not end",
		"\n<!-- snippet: a b c -->\n":  "2: malformed marker",
		mark + "```go\nfailing\n```\n": "1: boom",
	} {
		_, err := fill(text, func(ref) (string, error) { return "", errors.New("boom") })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

func TestRunWritesEveryMarkdownFileAndChecksIt(t *testing.T) {
	t.Parallel()
	const page = "<!-- snippet: pool/example_test.go Example_oneLine -->\n```go\n```\n"
	root := repository(t, map[string]string{
		"README.md":              page,
		"docs/deep/page.md":      page,
		"node_modules/x/page.md": "<!-- snippet: broken",
		".hidden/page.md":        "<!-- snippet: broken",
	})
	err := run(root, true)
	if err == nil || strings.Count(err.Error(), "out of date") != 2 {
		t.Errorf("check before writing: %v, want two files out of date", err)
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	if err := run(root, true); err != nil {
		t.Errorf("check after writing: %v", err)
	}
	got, err := os.ReadFile(filepath.Join(root, "docs/deep/page.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(page, "```go\n", "```go\nfmt.Println()\n", 1); string(got) != want {
		t.Errorf("page is %q, want %q", got, want)
	}
}
