package host

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/go-mcpool/mcpool/sdk/config"
)

func TestTheConfigurationInTheDocumentationIsOne(t *testing.T) {
	page, err := os.ReadFile("../../docs/plugin-config.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the documentation is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no JSON")
	}
	var c Config
	if err := config.Decode([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Endpoints) != 3 || c.Instances["nightly"].Secrets["client.secret"].check() != "" {
		t.Errorf("it says %+v", c)
	}
	for _, fault := range unjoin(c.check()) { // the plugins are not installed here; all else holds
		if !strings.Contains(fault.Error(), ".manifest cannot be used: ") {
			t.Error(fault)
		}
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(ConfigSchema(), &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if err := resolved.Validate(doc); err != nil {
		t.Error(err)
	}
}
