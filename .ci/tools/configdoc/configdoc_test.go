package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// loadSource loads the type Config from one file with the given declarations.
func loadSource(t *testing.T, src string) (structDoc, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.go"), []byte("package pool\n\n"+src), 0o600); err != nil {
		t.Fatal(err)
	}
	return load(dir, "Config")
}

const sample = `// Config says how. See [Pool.Do].
//
// Callbacks may:
//   - block
//   - panic
type Config[T any] struct {
	// Name appears in errors. Default: "pool".
	Name string
	// Open makes one resource.
	// Required.
	Open func(
		ctx context.Context,
	) (T, error)
	// Max is how many
	// may exist. Default: 10. Off: no limit.
	Max int
	// RetryMin and RetryMax bound the pause. Defaults: 0.5 s and 2 s.
	RetryMin, RetryMax time.Duration
	// Mode is a|b, or *none*.
	//
	// Second paragraph.
	Mode interface{ int | string }
	Stacks bool // Stacks records stacks.
	hidden int
	// Hooks observe.
	*Hooks[T]
}
`

func TestPageShowsFieldTypeDefaultAndMeaning(t *testing.T) {
	t.Parallel()
	s, err := loadSource(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	page := string(render([]structDoc{s}))
	for _, want := range []string{
		"\n## pool.Config\n",
		"Config says how. See `Pool.Do`.",
		"- block\n- panic\n",
		"| `Name` | `string` | \"pool\" | Name appears in errors. |\n",
		"| `Open` | `func(ctx context.Context) (T, error)` | required | Open makes one resource. |\n",
		"| `Max` | `int` | 10 | Max is how many may exist. Off: no limit. |\n",
		"| `RetryMin`, `RetryMax` | `time.Duration` | 0.5 s and 2 s | RetryMin and RetryMax bound the pause. |\n",
		"| `Mode` | `interface{ int \\| string }` | none | ",
		`Mode is a\|b, or \*none\*.<br>Second paragraph.`,
		"| `Stacks` | `bool` | false | Stacks records stacks. |\n",
		"| `Hooks` | `*Hooks[T]` | none | Hooks observe. |\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q\n%s", want, page)
		}
	}
	if strings.Contains(page, "hidden") {
		t.Error("page shows an unexported field")
	}
}

func TestLoadRefusesWhatItCannotDocument(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ src, want string }{
		"no such type":        {"type Other struct{}", "type Config not found"},
		"not a struct":        {"// Config is.\ntype Config int", "not a struct"},
		"type without doc":    {"type Config struct{}", "type Config has no doc comment"},
		"field without doc":   {"// Config is.\ntype Config struct { A, B int }", "field A, B has no doc comment"},
		"file does not parse": {"type Config struct {", "expected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := loadSource(t, test.src)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("load: %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestLoadIgnoresTestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a_test.go"), []byte("package p\n\n"+sample), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir, "Config"); err == nil {
		t.Error("load found a type that only a test declares")
	}
}
