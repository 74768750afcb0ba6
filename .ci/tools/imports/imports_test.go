package main

import (
	"strings"
	"testing"
)

func TestCheckNamesEveryBreach(t *testing.T) {
	t.Parallel()
	const grpcPkg = grpc + "/codes"
	for name, test := range map[string]struct {
		pkg  pkg
		want string // empty: allowed
	}{
		"core may use puddle":             {pkg{ImportPath: "core", Deps: []string{"sync", "github.com/jackc/puddle/v2/internal/genstack"}}, ""},
		"core may use its own":            {pkg{ImportPath: "core/balance", Deps: []string{project + "core"}}, ""},
		"core may use nothing else":       {pkg{ImportPath: "core", Deps: []string{"example.com/other"}}, "core must not depend on example.com/other"},
		"core may not use the sdk":        {pkg{ImportPath: "core", Deps: []string{project + "sdk/probe"}}, "core must not depend on"},
		"a like name is not the same":     {pkg{ImportPath: "core", Deps: []string{"github.com/jackc/puddle/v22"}}, "must not depend on"},
		"mcp may use leaf contracts":      {pkg{ImportPath: "mcp", Deps: []string{project + "sdk/auth", "example.com/sdk"}}, ""},
		"mcp may not link gRPC":           {pkg{ImportPath: "mcp", Deps: []string{grpcPkg}}, "mcp must not depend on " + grpcPkg},
		"mcp may not use the host":        {pkg{ImportPath: "mcp", Deps: []string{project + "sdk/host"}}, "must not depend on"},
		"kinds do not know each other":    {pkg{ImportPath: "sdk/auth", Deps: []string{project + "sdk/probe"}}, "must not depend on"},
		"the host may link go-plugin":     {pkg{ImportPath: "sdk/host", Deps: []string{goPlugin, project + "sdk/auth"}}, ""},
		"the sdk may not use core":        {pkg{ImportPath: "sdk/host", Deps: []string{project + "core"}}, "must not depend on"},
		"a plugin library has no gRPC":    {pkg{ImportPath: "plugins/auth/sigv4", Deps: []string{grpcPkg}}, "must not depend on"},
		"a plugin binary may have it":     {pkg{ImportPath: "plugins/auth/sigv4/cmd/x", Name: "main", Deps: []string{grpcPkg}}, ""},
		"examples may use what they like": {pkg{ImportPath: "examples/x", Deps: []string{grpcPkg, project + "mcp"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.pkg.ImportPath = project + test.pkg.ImportPath
			pkgs := []pkg{{ImportPath: "sync", Standard: true}, test.pkg}
			err := check(rules, pkgs, func(string) bool { return false })
			switch {
			case test.want == "" && err != nil:
				t.Errorf("check: %v, want no error", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("check: %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestCheckNoticesARuleThatGuardsNothing(t *testing.T) {
	t.Parallel()
	err := check([]rule{{Room: "core"}}, nil, func(room string) bool { return room == "core" })
	if err == nil || !strings.Contains(err.Error(), "no package found in core") {
		t.Errorf("check: %v, want an error about the empty room", err)
	}
}
