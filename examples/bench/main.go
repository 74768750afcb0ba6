// Command bench measures mcpool beside its peers and prints a table, or one
// JSON object with -json. README.md says what is measured and how.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// suites is the registry: one entry for each file suite_<name>.go.
var suites = []func() suite{
	coreSuite,
	authSuite,
	transportSuite,
	observeSuite,
	mcpSuite,
	pluginSuite,
}

// Many short measurements agree better from run to run than few long ones of
// the same total, on a machine that others use too.
const (
	usualRounds   = 30
	fewestRounds  = 10 // for figures that are quoted
	usualDuration = 100 * time.Millisecond
)

func main() {
	if runPlugin() {
		return
	}
	if addr := os.Getenv(serverEnv); addr != "" {
		if err := runServer(addr); err != nil {
			fmt.Fprintln(os.Stderr, "bench: server:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status: 0, 1 for a failed measurement or a missed
// target, 2 for wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		name     = flags.String("suite", "core", "the `suite` to run: "+strings.Join(suiteNames(), ", "))
		asJSON   = flags.Bool("json", false, "print one JSON object instead of the table")
		rounds   = flags.Int("rounds", usualRounds, "how often every implementation is measured")
		cases    = flags.String("case", "", "comma-separated `cases` to run (default all)")
		impls    = flags.String("impl", "", "comma-separated `implementations` to run (default all)")
		duration = flags.Duration("duration", usualDuration, "how long one measurement takes, warm-up apart")
		check    = flags.Bool("check", false, "exit with status 1 and a list if a target is missed")
	)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	usage := func(format string, a ...any) int {
		fmt.Fprintf(stderr, "bench: "+format+"\n", a...)
		return 2
	}
	if flags.NArg() > 0 {
		return usage("unexpected argument %q", flags.Arg(0))
	}
	if *rounds < 1 || *duration <= 0 {
		return usage("-rounds and -duration must be positive")
	}
	s, err := findSuite(*name)
	if err != nil {
		return usage("%v", err)
	}
	if err := s.filter(splitList(*cases), splitList(*impls)); err != nil {
		return usage("%v", err)
	}
	if *rounds < fewestRounds {
		fmt.Fprintf(stderr, "note: medians of %d rounds are for a quick look; quote no fewer than %d\n", *rounds, fewestRounds)
	}

	res, err := s.run(*rounds, *duration, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	verdicts := res.judge(s.targets)
	if *asJSON {
		err = writeJSON(stdout, res)
	} else {
		err = writeTable(stdout, res, verdicts)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	if *check {
		return reportCheck(stderr, verdicts)
	}
	return 0
}

func suiteNames() []string {
	names := make([]string, 0, len(suites))
	for _, s := range suites {
		names = append(names, s().name)
	}
	return names
}

func findSuite(name string) (suite, error) {
	for _, s := range suites {
		if s := s(); s.name == name {
			return s, nil
		}
	}
	return suite{}, fmt.Errorf("no suite %q: there are %s", name, strings.Join(suiteNames(), ", "))
}

func splitList(s string) []string {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
