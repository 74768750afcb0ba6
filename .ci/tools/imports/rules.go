package main

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// project begins the import path of every package of ours.
	project = "github.com/go-mcpool/mcpool/"

	grpc     = "google.golang.org/grpc"
	goPlugin = "github.com/hashicorp/go-plugin"
)

// rule says what the packages of one room may depend on. A room is a folder with
// all below it.
type rule struct {
	Room string
	// Ours lists the other rooms of this project that may be used.
	Ours []string
	// Others lists the only modules of others that may be used; nil allows all.
	Others []string
	// Never lists modules of others that may not be used.
	Never []string
	// Libraries exempts main packages.
	Libraries bool
}

// rules is the picture in docs/architecture.md, in words that can be checked.
// Rooms without a rule may use anything.
var rules = []rule{
	{Room: "core", Others: []string{"github.com/jackc/puddle/v2", "golang.org/x/sync"}},

	// Whoever compiles a plugin in must not link the machinery for binaries.
	{Room: "mcp", Ours: []string{"core", "sdk/auth", "sdk/transport", "sdk/probe"}, Never: []string{grpc, goPlugin}},
	{Room: "sdk/auth", Never: []string{grpc, goPlugin}},
	{Room: "sdk/config", Ours: []string{"sdk/internal/fields"}, Never: []string{grpc, goPlugin}},
	{Room: "sdk/transport", Never: []string{grpc, goPlugin}},
	{Room: "sdk/probe", Never: []string{grpc, goPlugin}},
	{Room: "sdk/metrics", Never: []string{grpc, goPlugin}},
	{Room: "sdk"},

	{Room: "plugins/auth", Ours: []string{"sdk"}, Never: []string{grpc, goPlugin}, Libraries: true},
	{Room: "plugins/transport", Ours: []string{"sdk"}, Never: []string{grpc, goPlugin}, Libraries: true},
	{Room: "plugins/probe", Ours: []string{"sdk"}, Never: []string{grpc, goPlugin}, Libraries: true},
	{Room: "plugins/metrics", Ours: []string{"core", "mcp", "sdk/metrics", "sdk/auth", "sdk/transport", "sdk/probe"}, Libraries: true},
}

// check returns every breach of rules by pkgs, and every rule whose room exists
// and has no package, because such a rule guards nothing.
func check(rules []rule, pkgs []pkg, exists func(room string) bool) error {
	var errs []error
	standard := make(map[string]bool)
	for _, p := range pkgs {
		standard[p.ImportPath] = p.Standard
	}
	for _, r := range rules {
		found := false
		for _, p := range pkgs {
			if p.Standard || !within(p.ImportPath, project+r.Room) {
				continue
			}
			found = true
			if r.Libraries && p.Name == "main" {
				continue
			}
			for _, dep := range p.Deps {
				if !standard[dep] && !r.allows(dep) {
					errs = append(errs, fmt.Errorf("%s must not depend on %s", p.ImportPath, dep))
				}
			}
		}
		if !found && exists(r.Room) {
			errs = append(errs, fmt.Errorf("no package found in %s: is the rule up to date?", r.Room))
		}
	}
	return errors.Join(errs...)
}

// allows reports whether a package of the rule's room may depend on dep.
func (r rule) allows(dep string) bool {
	if strings.HasPrefix(dep, project) {
		if within(dep, project+r.Room) {
			return true
		}
		for _, room := range r.Ours {
			if within(dep, project+room) {
				return true
			}
		}
		return false
	}
	for _, path := range r.Never {
		if within(dep, path) {
			return false
		}
	}
	for _, path := range r.Others {
		if within(dep, path) {
			return true
		}
	}
	return r.Others == nil
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}
