// Command conformance is a client for the official conformance suite of the Model
// Context Protocol, made of package mcpool and the OAuth provider of plugins/auth:
// what the suite sees is what users of those two get.
//
// The suite starts the command once for each scenario, with the URL of a server of
// its own as the last argument and the scenario's name and context in the
// environment:
//
//	go build -o /tmp/client ./examples/conformance
//	npx @modelcontextprotocol/conformance client --command /tmp/client --suite all
//
// The test of this package does that with the versions that are pinned in .ci/node
// and holds the outcome against the files in testdata.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// scenario is what the suite says about a run.
type scenario struct {
	name   string
	server string // URL
	with   settings
}

// settings are what scenarios give to the client beforehand. Which of them there
// are depends on the scenario.
type settings struct {
	ClientID      string `json:"client_id"`
	ClientSecret  string `json:"client_secret"`
	PrivateKeyPEM string `json:"private_key_pem"`
	Issuer        string `json:"issuer"`

	IDPClientID      string `json:"idp_client_id"`
	IDPToken         string `json:"idp_id_token"`
	IDPIssuer        string `json:"idp_issuer"`
	IDPTokenEndpoint string `json:"idp_token_endpoint"`

	WorkloadJWT string `json:"valid_jwt"`

	ToolCalls []toolCall `json:"toolCalls"`
}

type toolCall struct {
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"`
}

func main() {
	// The suite ends clients that take longer than its own limit.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string) error {
	s := scenario{name: getenv("MCP_CONFORMANCE_SCENARIO")}
	switch {
	case len(args) == 0:
		return errors.New("the last argument must be the URL of the server; the conformance suite gives it")
	case s.name == "":
		return errors.New("MCP_CONFORMANCE_SCENARIO is empty; the conformance suite sets it")
	}
	s.server = args[len(args)-1]
	if raw := getenv("MCP_CONFORMANCE_CONTEXT"); raw != "" {
		if err := json.Unmarshal([]byte(raw), &s.with); err != nil {
			return fmt.Errorf("MCP_CONFORMANCE_CONTEXT: %w", err)
		}
	}
	if err := play(ctx, s); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}
