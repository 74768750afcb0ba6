package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	// output begins the comment that tells go test what an example prints.
	output = regexp.MustCompile(`(?i)^//\s*(?:unordered )?output:`)
	// regionMark is a line that begins or ends a region.
	regionMark = regexp.MustCompile(`^\s*// snippet:(?:begin|end) `)
)

// extract returns the code that r names, without its common indentation.
func extract(root string, r ref) (string, error) {
	if !filepath.IsLocal(r.File) {
		return "", fmt.Errorf("%s is not inside the repository", r.File)
	}
	src, err := os.ReadFile(filepath.Join(root, r.File))
	if err != nil {
		return "", err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, r.File, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	offset := func(pos token.Pos) int { return fset.Position(pos).Offset }
	if r.Name == "" {
		return dedent(string(src[offset(file.Package):])), nil
	}
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || fn.Name.Name != r.Name || fn.Body == nil {
			continue
		}
		return dedent(string(src[offset(fn.Body.Lbrace)+1 : offset(bodyEnd(file, fn.Body))])), nil
	}
	return region(string(src), r)
}

// bodyEnd returns where the part of body that readers want ends: before its last
// comment if that is the expected output, which is the rule of go test too.
func bodyEnd(file *ast.File, body *ast.BlockStmt) token.Pos {
	var last *ast.CommentGroup
	for _, group := range file.Comments {
		if group.Pos() > body.Lbrace && group.End() <= body.Rbrace {
			last = group
		}
	}
	if last != nil && output.MatchString(last.List[0].Text) {
		return last.Pos()
	}
	return body.Rbrace
}

// region returns the lines between the markers that r names.
func region(src string, r ref) (string, error) {
	var (
		lines  []string
		inside bool
	)
	for line := range strings.SplitSeq(src, "\n") {
		switch strings.TrimSpace(line) {
		case "// snippet:begin " + r.Name:
			inside = true
		case "// snippet:end " + r.Name:
			if inside {
				return dedent(strings.Join(lines, "\n")), nil
			}
		default:
			if inside {
				lines = append(lines, line)
			}
		}
	}
	if inside {
		return "", fmt.Errorf("%s: region %s does not end", r.File, r.Name)
	}
	return "", fmt.Errorf("%s has no function or region called %s", r.File, r.Name)
}

// dedent removes the blank lines around code, the marks of regions, and from
// each line the tabs that the first one begins with. A raw string may have lines
// with fewer.
func dedent(code string) string {
	lines := strings.Split(code, "\n")
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return ""
	}
	indent := lines[0][:len(lines[0])-len(strings.TrimLeft(lines[0], " \t"))]
	kept := lines[:0]
	for _, line := range lines {
		line = strings.TrimRight(strings.TrimPrefix(line, indent), " \t")
		if !regionMark.MatchString(line) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}
