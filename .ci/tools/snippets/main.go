// Command snippets keeps the Go code in the repository's Markdown files equal to
// code that is compiled and tested. A block fenced as go that follows a comment
//
//	<!-- snippet: core/example_test.go ExamplePool -->
//
// holds the body of that function, without its "// Output:" part, or the lines
// between "// snippet:begin NAME" and "// snippet:end NAME" of that file. With
// no name it holds the whole file from its package clause on. Paths are relative
// to the root of the repository.
//
// The command writes the blocks; with -check it writes nothing and fails if one
// is out of date. Run it with "make generate".
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-mcpool/mcpool/ci/tools/internal/genfile"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("snippets: ")
	root := flag.String("root", ".", "folder of the repository")
	check := flag.Bool("check", false, "fail if a block is out of date, write nothing")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		log.Fatal(err)
	}
}

// run looks at every Markdown file under root and returns all that is wrong.
func run(root string, check bool) error {
	var errs []error
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) == ".md" {
			errs = append(errs, sync(root, path, check))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// sync brings the blocks of one Markdown file up to date.
func sync(root, path string, check bool) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	want, err := fill(string(src), func(r ref) (string, error) { return extract(root, r) })
	if err != nil {
		return fmt.Errorf("%s:%w", path, err)
	}
	return genfile.Sync(path, []byte(want), check)
}
