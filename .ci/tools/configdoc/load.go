package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// source names one struct type.
type source struct {
	Dir  string // of its package, relative to the root of the repository
	Type string
}

// structDoc is what the page says about one struct type.
type structDoc struct {
	Package string
	Name    string
	Doc     string
	Fields  []fieldDoc
}

// fieldDoc is one line of a struct: one field, or several that share a type and
// a comment.
type fieldDoc struct {
	Names []string
	Type  string
	Doc   string
}

// load reads the struct type called name from the Go files in dir.
func load(dir, name string) (structDoc, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return structDoc{}, err
	}
	fset := token.NewFileSet()
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return structDoc{}, err
		}
		file, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return structDoc{}, err
		}
		spec, doc := findType(file, name)
		if spec == nil {
			continue
		}
		st, ok := spec.Type.(*ast.StructType)
		if !ok {
			return structDoc{}, fmt.Errorf("type %s is not a struct", name)
		}
		if doc == "" {
			return structDoc{}, fmt.Errorf("type %s has no doc comment", name)
		}
		fields, err := loadFields(fset, st)
		if err != nil {
			return structDoc{}, fmt.Errorf("type %s: %w", name, err)
		}
		return structDoc{Package: file.Name.Name, Name: name, Doc: doc, Fields: fields}, nil
	}
	return structDoc{}, fmt.Errorf("type %s not found", name)
}

// findType returns the declaration of the type called name, and its comment.
func findType(file *ast.File, name string) (*ast.TypeSpec, string) {
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			ts, ok := spec.(*ast.TypeSpec)
			if !ok || ts.Name.Name != name {
				continue
			}
			if ts.Doc != nil {
				return ts, ts.Doc.Text()
			}
			return ts, gen.Doc.Text()
		}
	}
	return nil, ""
}

// loadFields returns the exported fields of st. A field without a comment is an
// error: the page would have nothing to say about it.
func loadFields(fset *token.FileSet, st *ast.StructType) ([]fieldDoc, error) {
	var (
		fields []fieldDoc
		errs   []error
	)
	for _, field := range st.Fields.List {
		names := exportedNames(field)
		if len(names) == 0 {
			continue
		}
		doc := field.Doc.Text()
		if doc == "" {
			doc = field.Comment.Text()
		}
		if doc == "" {
			errs = append(errs, fmt.Errorf("field %s has no doc comment", strings.Join(names, ", ")))
			continue
		}
		var typ strings.Builder
		if err := printer.Fprint(&typ, fset, field.Type); err != nil {
			return nil, err
		}
		fields = append(fields, fieldDoc{Names: names, Type: oneLine(typ.String()), Doc: doc})
	}
	return fields, errors.Join(errs...)
}

// oneLine joins a type that is written over several lines.
func oneLine(typ string) string {
	typ = strings.Join(strings.Fields(typ), " ")
	return strings.NewReplacer("( ", "(", ", )", ")").Replace(typ)
}

// exportedNames returns the exported names that field declares; an embedded
// field is called like its type.
func exportedNames(field *ast.Field) []string {
	idents := field.Names
	if len(idents) == 0 {
		idents = []*ast.Ident{embeddedName(field.Type)}
	}
	var names []string
	for _, id := range idents {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	return names
}

// embeddedName returns the last identifier of a type such as *pkg.Name[T].
func embeddedName(expr ast.Expr) *ast.Ident {
	for {
		switch e := expr.(type) {
		case *ast.Ident:
			return e
		case *ast.StarExpr:
			expr = e.X
		case *ast.SelectorExpr:
			return e.Sel
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		default:
			return &ast.Ident{Name: "_"}
		}
	}
}
