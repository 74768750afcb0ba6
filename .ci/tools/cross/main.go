// Command cross fails where code, tests included, would not compile on another system.
// It checks types from the source, and of what stands outside the repository only the
// declarations. "go vet" for a system would say the same and more, and first compile
// the standard library and every dependency for it, which takes minutes.
//
//	cross -root DIR -os windows,darwin,freebsd PATTERN...
package main

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("cross: ")
	root := flag.String("root", ".", "folder of the repository")
	systems := flag.String("os", "windows,darwin,freebsd", "values of GOOS")
	flag.Parse()
	var errs []error
	for system := range strings.SplitSeq(*systems, ",") {
		errs = append(errs, check(*root, system, flag.Args()))
	}
	if err := errors.Join(errs...); err != nil {
		log.Fatal(err)
	}
}

// check returns what a compiler for the system would say of the packages.
func check(root, system string, patterns []string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	ours := func(file string) bool { return strings.HasPrefix(file, root+string(filepath.Separator)) }
	all, err := packages.Load(&packages.Config{
		Mode: packages.LoadAllSyntax, Dir: root, Tests: true,
		Env: append(environ(), "GOOS="+system, "CGO_ENABLED=0"),
		ParseFile: func(fset *token.FileSet, name string, src []byte) (*ast.File, error) {
			f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
			if f != nil && !ours(name) {
				withoutBodies(f)
			}
			return f, err
		},
	}, patterns...)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("no packages match %s", strings.Join(patterns, " "))
	}
	var errs []error
	said := make(map[string]bool) // a package stands there with its tests again
	packages.Visit(all, nil, func(p *packages.Package) {
		if len(p.GoFiles) > 0 && !ours(p.GoFiles[0]) && len(p.TypeErrors) == len(p.Errors) {
			return // unused imports, for want of bodies
		}
		for _, e := range p.Errors {
			if text := system + ": " + e.Error(); !said[text] && (ours(e.Pos) || e.Kind != packages.TypeError) {
				said[text] = true
				errs = append(errs, errors.New(text))
			}
		}
	})
	return errors.Join(errs...)
}

// withoutBodies takes the bodies from functions that need none: what a generic function
// does is not looked at before it is used.
func withoutBodies(f *ast.File) {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			fn.Body = &ast.BlockStmt{Lbrace: fn.Body.Lbrace, Rbrace: fn.Body.Rbrace}
		}
	}
}

// environ is the environment without GOWORK: make turns it off to build this command.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "GOWORK=") })
}
