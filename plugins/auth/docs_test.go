package auth_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every error that a page quotes is one that the code has.
func TestThePagesQuoteErrorsAsTheyAre(t *testing.T) {
	t.Parallel()
	for page, dirs := range map[string][]string{
		"bearer": {"bearer"}, "sigv4": {"sigv4", "../../sdk/auth/authhttp"}, "oauth": {"oauth"},
	} {
		data, err := os.ReadFile(filepath.Join("..", "..", "docs", "auth", page+".md"))
		if os.IsNotExist(err) {
			t.Skip("the pages are not here: this is not the whole repository")
		}
		if err != nil {
			t.Fatal(err)
		}
		_, table, found := strings.Cut(string(data), "## What goes wrong")
		rows := regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(table, -1)
		if !found || len(rows) < 5 {
			t.Errorf("%s: %d rows", page, len(rows))
		}
		literals := stringsOf(t, dirs)
		for _, row := range rows {
			for fragment := range strings.SplitSeq(strings.ReplaceAll(row[1], "`", "…"), "…") {
				if fragment = strings.TrimSpace(fragment); len(fragment) > 3 && !strings.Contains(literals, fragment) {
					t.Errorf("%s quotes %q, which no error says", page, fragment)
				}
			}
		}
	}
}

// stringsOf returns the string literals of packages, formatting verbs left out.
func stringsOf(t *testing.T, dirs []string) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in %s: %v", dir, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, err := strconv.Unquote(lit.Value); err == nil {
						all.WriteString(s + "\n")
					}
				}
				return true
			})
		}
	}
	return all.String()
}
