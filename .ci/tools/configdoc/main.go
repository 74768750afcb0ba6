// Command configdoc writes docs/configuration.md from the doc comments of the
// structs that configure mcpool. With -check it writes nothing and fails if the
// file is out of date. Run it with "make generate".
package main

import (
	"flag"
	"fmt"
	"log"
	"path/filepath"

	"github.com/go-mcpool/mcpool/ci/tools/internal/genfile"
)

// documented lists the structs of the page, in order: add a line to add one.
var documented = []source{
	{Dir: "core", Type: "Config"},
	{Dir: "core", Type: "KeyedConfig"},
	{Dir: "core", Type: "AcquireOptions"},
	{Dir: "mcp", Type: "Config"},
	{Dir: "plugins/auth/bearer", Type: "Config"},
	{Dir: "plugins/auth/bearer", Type: "Command"},
	{Dir: "plugins/auth/sigv4", Type: "Config"},
	{Dir: "plugins/auth/oauth", Type: "Config"},
	{Dir: "plugins/auth/oauth", Type: "Client"},
	{Dir: "plugins/transport/websocket", Type: "Config"},
	{Dir: "plugins/transport/websocket", Type: "TLS"},
	{Dir: "plugins/transport/ssh", Type: "Config"},
	{Dir: "plugins/transport/exec", Type: "Config"},
	{Dir: "plugins/probe/toolcall", Type: "Config"},
	{Dir: "plugins/probe/toolcall", Type: "Expect"},
	{Dir: "plugins/probe/http", Type: "Config"},
	{Dir: "plugins/metrics/prometheus", Type: "Config"},
	{Dir: "plugins/metrics/otel", Type: "Config"},
	{Dir: "plugins/metrics/cloudwatch", Type: "Config"},
	{Dir: "plugins/metrics/export", Type: "Config"},
	{Dir: "mcp/debug", Type: "Config"},
	{Dir: "sdk/metrics", Type: "Config"},
	{Dir: "sdk/probe", Type: "Damping"},
	{Dir: "sdk/host", Type: "Plugin"},
	{Dir: "sdk/host", Type: "Limits"},
	{Dir: "sdk/host", Type: "Instance"},
	{Dir: "sdk/host", Type: "Config"},
	{Dir: "sdk/host", Type: "ConfigPlugin"},
	{Dir: "sdk/host", Type: "ConfigInstance"},
	{Dir: "sdk/host", Type: "ConfigEndpoint"},
	{Dir: "sdk/host", Type: "SecretSource"},
}

// output is the page, relative to the root of the repository.
const output = "docs/configuration.md"

func main() {
	log.SetFlags(0)
	log.SetPrefix("configdoc: ")
	root := flag.String("root", ".", "folder of the repository")
	check := flag.Bool("check", false, "fail if the page is out of date, write nothing")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		log.Fatal(err)
	}
}

func run(root string, check bool) error {
	structs := make([]structDoc, 0, len(documented))
	for _, src := range documented {
		s, err := load(filepath.Join(root, src.Dir), src.Type)
		if err != nil {
			return fmt.Errorf("%s: %w", src.Dir, err)
		}
		structs = append(structs, s)
	}
	return genfile.Sync(filepath.Join(root, output), render(structs), check)
}
