package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

type member struct {
	Name  string `json:"name"`
	Count *int   `json:"count"`
}

type Inner struct {
	Plain auth.Secret `json:"plain"`
}

type Far struct {
	Key   auth.Secret `json:"far"`
	Shown string      `json:"shown"`
}

type near struct{ Near int }

// rich has what a configuration may have.
type rich struct {
	Inner // its fields are the configuration's
	*Far  // too
	near  // too

	Embedded Inner                  `json:"embedded"`
	Pointer  *auth.Secret           `json:"pointer"`
	Below    *Inner                 `json:"below"`
	Many     map[string]auth.Secret `json:"many"`
	Untagged struct{ Key auth.Secret }
	Hidden   auth.Secret `json:"-"`

	Members []member          `json:"members"`
	ByName  map[string]member `json:"by_name"`
	Lists   map[string][]member
	Every   time.Duration `json:"every"`
	Least   probe.Status  `json:"least"`
	Hook    func()

	unexported auth.Secret //nolint:unused // that it is not looked at is the point
}

// What the schema says and what decode takes is the same.
func TestTheSchemaDescribesWhatIsTaken(t *testing.T) {
	t.Parallel()
	raw, paths, err := schemaOf[rich]()
	if want := []string{"plain", "far", "embedded.plain", "pointer", "below.plain", "many.*", "Untagged.Key"}; err != nil || !slices.Equal(paths, want) {
		t.Fatalf("secrets %q, want %q; %v", paths, want, err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for doc, taken := range map[string]bool{
		`{}`:                               true,
		`{"members":[{}]}`:                 true,
		`{"members":[{"count":1}]}`:        true,
		`{"by_name":{"a":{}}}`:             true,
		`{"Lists":{"a":[{"name":"x"}]}}`:   true,
		`{"every":"1m30s"}`:                true,
		`{"every":-1}`:                     true,
		`{"least":"degraded"}`:             true,
		`{"shown":"x"}`:                    true,
		`{"Near":1}`:                       true,
		`{"Far":{}}`:                       false,
		`{"near":{}}`:                      false,
		`{"shown":1}`:                      false,
		`{"members":null}`:                 false,
		`{"members":[null]}`:               false,
		`{"members":[{"count":null}]}`:     false,
		`{"members":[{"x":1}]}`:            false,
		`{"by_name":{"a":{"count":null}}}`: false,
		`{"by_name":{"a":{"x":1}}}`:        false,
		`{"Lists":{"a":null}}`:             false,
		`{"every":5}`:                      false,
		`{"least":"tired"}`:                false,
		`{"Hidden":""}`:                    false,
		`{"unexported":""}`:                false,
	} {
		var value any
		if err := json.Unmarshal([]byte(doc), &value); err != nil {
			t.Fatal(err)
		}
		_, errTaken := decode[rich]([]byte(doc), nil, paths)
		errSchema := resolved.Validate(value)
		if (errTaken == nil) != taken || (errSchema == nil) != taken {
			t.Errorf("%s: decode says %v, the schema %v", doc, errTaken, errSchema)
		}
	}
}

func TestASecretThatCannotBeDeliveredIsAMistakeOfTheAuthor(t *testing.T) {
	t.Parallel()
	type lost struct {
		List   []Inner                           `json:"list"`
		ByName map[string]Inner                  `json:"by_name"`
		Deep   map[string]map[string]auth.Secret `json:"deep"`
		Two    [2]*auth.Secret                   `json:"two"`
	}
	_, _, err := schemaOf[lost]()
	for _, path := range []string{"list.*.plain", "by_name.*.plain", "deep.*.*", "two.*"} {
		if !strings.Contains(fmt.Sprint(err), "sdk: "+path+" in sdk.lost is a secret, and has no path") {
			t.Errorf("%s is not named in %v", path, err)
		}
	}
	type Name string
	type odd struct {
		Inner `json:"inner"`
		*Far  `json:"-"`
		Name
		Below struct {
			near `json:"near"` // nobody can set it, so that it is none
			Name `json:"name"`
		} `json:"below"`
	}
	_, _, err = schemaOf[odd]()
	for _, path := range []string{"Inner", "Far", "Name", "below.Name"} {
		if !strings.Contains(fmt.Sprint(err), "sdk: "+path+" in sdk.odd is embedded") {
			t.Errorf("%s is not named in %v", path, err)
		}
	}
	type Loop struct {
		*Loop // JSON knows no such thing

		Key auth.Secret `json:"key"`
	}
	if _, paths, err := schemaOf[Loop](); err != nil || !slices.Equal(paths, []string{"key"}) {
		t.Errorf("a struct in itself: %q, %v", paths, err)
	}
}

func TestEverySecretGoesWhereItBelongs(t *testing.T) {
	t.Parallel()
	_, paths, err := schemaOf[rich]()
	if err != nil {
		t.Fatal(err)
	}
	secrets := make(map[string][]byte)
	for _, path := range paths {
		secrets[strings.Replace(path, "*", "x", 1)] = []byte("at " + path)
	}
	c, err := decode[rich]([]byte("\n "), secrets, paths)
	if err != nil {
		t.Fatal(err)
	}
	for path, got := range map[string]auth.Secret{
		"plain": c.Plain, "embedded.plain": c.Embedded.Plain, "pointer": *c.Pointer, "below.plain": c.Below.Plain,
		"many.*": c.Many["x"], "Untagged.Key": c.Untagged.Key,
	} {
		if got.Reveal() != "at "+path {
			t.Errorf("%s is %q", path, got.Reveal())
		}
	}
}

// The order of a map must not be that of what a person reads.
func TestTheFaultsOfSecretsComeInTheirOrder(t *testing.T) {
	t.Parallel()
	for range 20 {
		_, err := decode[rich]([]byte(`{"below":null,"plain":"hush4711"}`), map[string][]byte{
			"a": []byte("hush4711"), "b": []byte("hush4711"), "below.plain": []byte("hush4711"), "c": nil, "many.": nil, "plain": nil,
		}, []string{"plain", "below.plain", "many.*"})
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			t.Fatal(err)
		}
		var fields []string
		for _, fault := range joined.Unwrap() {
			if c, ok := errors.AsType[*auth.ConfigError](fault); ok {
				fields = append(fields, c.Field)
			}
		}
		if want := []string{"plain", "a", "b", "below", "c", "many."}; !slices.Equal(fields, want) || strings.Contains(err.Error(), "hush4711") {
			t.Fatalf("%q, want %q: %v", fields, want, err)
		}
		if want := `a is not a secret of this plugin, which has ["plain" "below.plain" "many.*"]`; !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %s", err, want)
		}
	}
	_, err := decode[member](nil, map[string][]byte{"a": nil}, nil)
	if want := "auth: config: a is not a secret of this plugin, which has none"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestASecretBelowWhatIsNoObjectNamesAllOfItsPath(t *testing.T) {
	t.Parallel()
	type deep struct {
		Outer struct {
			Inner *Inner `json:"inner"`
			Other struct {
				Inner Inner `json:"inner"`
			} `json:"other"`
		} `json:"outer"`
	}
	_, paths, err := schemaOf[deep]()
	if err != nil {
		t.Fatal(err)
	}
	for doc, field := range map[string]string{
		`{"outer":7}`: "outer", `{"outer":{"inner":null}}`: "outer.inner", `{"outer":{"inner":"hush4711"}}`: "outer.inner",
		`{"outer":{"other":{"inner":7}}}`: "outer.other.inner",
	} {
		secret := field + ".plain"
		if field == "outer" {
			secret = "outer.inner.plain"
		}
		_, err := decode[deep]([]byte(doc), map[string][]byte{secret: []byte("hush4711")}, paths)
		if want := "auth: config: " + field + " is not an object"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", doc, err, want)
		}
	}
}
