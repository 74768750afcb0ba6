package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// Info says what the plugin is.
type Info struct {
	// Name is the plugin's, such as "acme-auth". Required.
	Name string
	// Version is the binary's, for logs and manifests; default "dev".
	Version string
	// Summary is one sentence for who runs the binary by hand.
	Summary string
	// Environment names the variables that the plugin can use, as names and PREFIX_*.
	// It is a wish: the host's operator decides which are passed.
	Environment []string
}

// Main serves the plugin to its host, and ends the process. Run by hand it explains
// the plugin and exits with 2; with --help it does so on stdout and exits with 0. With
// --describe it prints its description as JSON.
//
// While one processor is enough, which is looked at every 20 ms, it calls
// runtime.GOMAXPROCS(1): short calls take up to a third less time then. A plugin that sets
// GOMAXPROCS itself does so before Main, and then has no more than that. With GOMAXPROCS
// in its environment Main leaves it alone.
func Main(info Info, kinds ...Kind) {
	os.Exit(run(info, kinds, os.Args[1:], os.Stdout, os.Stderr)) //nolint:forbidigo // this is the program's main
}

func run(info Info, kinds []Kind, args []string, stdout, stderr io.Writer) int {
	description, impls, err := describe(info, kinds)
	if err != nil {
		fmt.Fprintf(stderr, "%s: this plugin is broken, please tell its author: %v\n", info.Name, err)
		return 1
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(args, func(arg string) bool { return slices.Contains(names, strings.Replace(arg, "--", "-", 1)) })
	}
	switch {
	case has("-describe"):
		return printJSON(stdout, stderr, description)
	case os.Getenv(wire.CookieKey) == wire.CookieValue:
		return serve(description, impls)
	case has("-help", "-h"):
		explain(stdout, description)
		return 0
	case len(args) > 0:
		fmt.Fprintf(stderr, "%s: it takes --describe or --help, and not %q\n\n", description.Name, args)
	}
	explain(stderr, description)
	return 2
}

// describe collects what the plugin is, and every mistake of its author.
func describe(info Info, kinds []Kind) (wire.Description, []kind, error) {
	d := wire.Description{Name: info.Name, Version: info.Version, Summary: info.Summary, Environment: info.Environment}
	if d.Version == "" {
		d.Version = "dev"
	}
	var errs []error
	if d.Name == "" {
		errs = append(errs, errors.New("sdk: Info.Name is missing"))
	}
	if len(kinds) == 0 {
		errs = append(errs, errors.New("sdk: Main was given no kind, such as sdk.Auth(factory)"))
	}
	var impls []kind
	for _, k := range kinds {
		if k.impl == nil {
			errs = append(errs, errors.New("sdk: Main was given a zero Kind"))
			continue
		}
		if slices.ContainsFunc(impls, func(o kind) bool { return o.name() == k.impl.name() }) {
			errs = append(errs, fmt.Errorf("sdk: Main was given the kind %s twice", k.impl.name()))
			continue
		}
		kd, err := k.impl.describe()
		errs = append(errs, err)
		d.Kinds = append(d.Kinds, kd)
		impls = append(impls, k.impl)
	}
	return d, impls, errors.Join(errs...)
}

func printJSON(stdout, stderr io.Writer, d wire.Description) int {
	enc := json.NewEncoder(stdout)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// explain is for a person who ran the binary to see what it does.
func explain(w io.Writer, d wire.Description) {
	fmt.Fprintf(w, "%s %s is a plugin for mcpool.", d.Name, d.Version)
	if d.Summary != "" {
		fmt.Fprintf(w, " %s", d.Summary)
	}
	fmt.Fprintln(w, "\nIt does nothing by itself: a program that uses mcpool starts it, with host.Launch.")
	for _, k := range d.Kinds {
		fmt.Fprintf(w, "\nkind %s, major %d", k.Name, k.Majors)
		if len(k.Capabilities) > 0 {
			fmt.Fprintf(w, ", can %s", strings.Join(k.Capabilities, ", "))
		}
		if len(k.Headers) > 0 {
			fmt.Fprintf(w, ", sets %s", strings.Join(k.Headers, ", "))
		}
	}
	if len(d.Environment) > 0 {
		fmt.Fprintf(w, "\nenvironment it can use: %s", strings.Join(d.Environment, ", "))
	}
	fmt.Fprintln(w, "\n\n--describe prints this and the schema of its configuration as JSON.")
}
