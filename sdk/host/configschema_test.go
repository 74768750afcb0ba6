package host

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

var update = flag.Bool("update", false, "write config.schema.json")

// wholeConfig has every member there is.
const wholeConfig = `{
	"$schema": "config.schema.json",
	"plugins": {
		"good": {
			"manifest": "manifest.json", "release": "good", "path": "good", "allow_unverified": true, "env": ["GOOD_*"],
			"state_dir": "state", "mutual_tls": true,
			"limits": {
				"start": "1m", "call": "10s", "drain": "5s", "shutdown": "5s", "health": -1, "health_timeout": "1s",
				"memory_bytes": -1, "hard_memory_bytes": -1, "message_bytes": 1048576, "restart_min": "1ms", "restart_max": "1s",
				"stable_after": "1m", "circuit_after": 7, "log_lines": 100
			}
		},
		"carrier": {"path": "carrier", "allow_unverified": true},
		"looker": {"path": "looker", "allow_unverified": true}
	},
	"instances": {
		"one": {"plugin": "good", "kind": "auth", "config": {"greeting": "hello"}, "secrets": {"key": {"from": "env:GOOD_KEY"}}},
		"road": {"plugin": "carrier", "kind": "transport"},
		"look": {"plugin": "looker", "kind": "probe"},
		"drain": {"plugin": "looker", "kind": "metrics"}
	},
	"endpoints": {
		"left": {"url": "https://left.example/mcp", "auth": "one"},
		"right": {"url": "https://right.example/mcp", "auth": "one"},
		"open": {"url": "http://open.example/mcp"},
		"all": {"url": "wss://all.example/mcp", "auth": "one", "transport": "road", "probe": "look", "metrics": "drain"},
		"road": {"transport": "road", "metrics": "drain"}
	}
}`

// makeSchema derives the schema from the structs.
func makeSchema(t *testing.T) []byte {
	t.Helper()
	s, err := jsonschema.For[Config](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[json.RawMessage](): {Type: "object"},
		reflect.TypeFor[time.Duration](): {
			Description: `A duration such as "1m30s", or -1 where that turns something off.`,
			AnyOf:       []*jsonschema.Schema{{Type: "string"}, {Const: new(any(-1))}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Properties["instances"].AdditionalProperties.Properties["kind"].Enum = kinds()
	s.Properties["endpoints"].AdditionalProperties.AnyOf = []*jsonschema.Schema{{Required: []string{"url"}}, {Required: []string{"transport"}}}
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", "Plugins of mcpool"
	tidySchema(s)
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(raw, '\n')
}

func kinds() []any {
	var all []any
	for _, kind := range wire.Kinds() {
		all = append(all, kind)
	}
	return all
}

// tidySchema says what the decoder does: null is no value.
func tidySchema(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Types = slices.DeleteFunc(s.Types, func(name string) bool { return name == "null" }); len(s.Types) == 1 {
		s.Type, s.Types = s.Types[0], nil
	}
	for _, p := range s.Properties {
		tidySchema(p)
	}
	tidySchema(s.Items)
	tidySchema(s.AdditionalProperties)
}

func TestThePublishedSchemaIsThatOfTheStructs(t *testing.T) {
	want := makeSchema(t)
	if *update {
		if err := os.WriteFile("config.schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(ConfigSchema(), want) {
		t.Error("config.schema.json is out of date: go test ./sdk/host -run Schema -update")
	}
}

func TestTheSchemaTakesWhatLoadConfigTakes(t *testing.T) {
	var s jsonschema.Schema
	if err := json.Unmarshal(ConfigSchema(), &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, kase := range map[string]struct {
		doc string
		ok  bool
	}{
		"everything":        {wholeConfig, true},
		"nothing":           {`{}`, true},
		"an unknown member": {`{"plugin":{}}`, false},
		"an unknown limit":  {`{"plugins":{"a":{"limits":{"starts":"1s"}}}}`, false},
		"a plain secret":    {`{"instances":{"a":{"plugin":"p","kind":"auth","secrets":{"token":"hush"}}}}`, false},
		"no kind":           {`{"instances":{"a":{"plugin":"p"}}}`, false},
		"an unknown kind":   {`{"instances":{"a":{"plugin":"p","kind":"telepathy"}}}`, false},
		"no URL":            {`{"endpoints":{"a":{}}}`, false},
		"a transport's URL": {`{"endpoints":{"a":{"transport":"t"}}}`, true},
		"null":              {`{"plugins":null}`, false},
	} {
		var doc any
		if err := json.Unmarshal([]byte(kase.doc), &doc); err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(doc); (err == nil) != kase.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
