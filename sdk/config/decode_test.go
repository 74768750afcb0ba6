package config_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
)

type inner struct {
	Args  []string        `json:"args"`
	Waits []time.Duration `json:"waits"`
}

type Shared struct {
	Name string `json:"name"`
}

type Lazy struct {
	Late  string `json:"late"`
	Later *int   `json:"later"`
}

type quiet struct{ Loud bool }

type settings struct {
	Shared
	*Lazy
	quiet
	Timeout  time.Duration       `json:"timeout"`
	Off      time.Duration       `json:"off"`
	Token    auth.Secret         `json:"token"`
	Inner    inner               `json:"inner"`
	Pointer  *inner              `json:"pointer"`
	Many     map[string]inner    `json:"many"`
	Params   map[string][]string `json:"params"`
	Networks []netip.Prefix      `json:"networks"`
	Count    int                 `json:"count"`
	Small    uint8               `json:"small"`
	Ratio    float64             `json:"ratio"`
	On       bool                `json:"on"`
	Bytes    []byte              `json:"bytes"`
	Any      any                 `json:"any"`
	Plain    string
	Hidden   func()          `json:"-"`
	Number   json.Number     `json:"number"`
	Raw      json.RawMessage `json:"raw"`
	unseen   string
}

func TestDecodeReadsWhatAProgramWouldWrite(t *testing.T) {
	t.Parallel()
	got := settings{Count: 7, unseen: "stays", Inner: inner{Args: []string{"default"}}}
	err := config.Decode([]byte(`{
		"name": "n", "timeout": "1m30s", "off": -1, "token": "s3cr3t", "inner": {"waits": ["1s", "2ms"]},
		"pointer": {"args": []}, "many": {"a b": {"args": ["x"]}}, "params": {"p": ["1", "2"]},
		"networks": ["10.0.0.0/8"], "small": 255, "ratio": 0.5, "on": true, "bytes": "aGk=", "any": {"x": [1]},
		"Plain": "p", "late": "l", "Loud": true, "number": 12, "raw": {"kept": [ 1 ]}
	}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := settings{
		Shared: Shared{"n"}, Lazy: &Lazy{Late: "l"}, quiet: quiet{true}, Timeout: 90 * time.Second, Off: -1, Token: auth.NewSecret("s3cr3t"),
		Inner:   inner{Args: []string{"default"}, Waits: []time.Duration{time.Second, 2 * time.Millisecond}},
		Pointer: &inner{Args: []string{}}, Many: map[string]inner{"a b": {Args: []string{"x"}}},
		Params: map[string][]string{"p": {"1", "2"}}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Count: 7, Small: 255, Ratio: 0.5, On: true, Bytes: []byte("hi"), Any: map[string]any{"x": []any{1.0}},
		Plain: "p", Number: "12", Raw: json.RawMessage(`{"kept": [ 1 ]}`), unseen: "stays",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodeReportsEveryFaultByItsPathAndShowsNoValue(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for doc, want := range map[string][]string{
		`{"Timeout": "hunter2"}`:                        {`Timeout is not known: there are Loud, Plain, any, bytes`},
		`{"timeout": "hunter2", "off": 5}`:              {`timeout is not a duration`, `off is not a duration`},
		`{"inner": {"args": ["x", 7], "waits": [1]}}`:   {`inner.args[1] is not a string`, `inner.waits[0] is not a duration`},
		`{"many": {"a b": {"nope": 1}}}`:                {`many."a b".nope is not known: there are args, waits`},
		`{"token": {"hunter2": 1}}`:                     {`token is not a string`},
		`{"token": null, "pointer": null}`:              {`token is null: leave it out`, `pointer is null`},
		`{"count": 1, "count": 2}`:                      {`count is there twice`},
		`{"inner": {"args": [], "args": []}}`:           {`inner.args is there twice`},
		`{"networks": ["hunter2"]}`:                     {`networks[0] is not what a netip.Prefix is written like`},
		`{"count": 1.5, "small": 256, "ratio": "x"}`:    {`count is not a whole number`, `small is not a whole number`, `ratio is not a number`},
		`{"on": "true", "inner": [], "params": 1}`:      {`on is not true or false`, `inner is not an object`, `params is not an object`},
		`{"Hidden": 1, "unseen": 1, "Shared": {}}`:      {`Hidden is not known`, `unseen is not known`, `Shared is not known`},
		`{"inner": {"args": "hunter2"}, "bytes": "!!"}`: {`inner.args is not a list`, `bytes is not what a []uint8 is written like`},
		`[]`:                         {`the document is not an object`},
		`null`:                       {`the document is null`},
		``:                           {`the document is empty: it has to be a JSON object`},
		" \n":                        {`the document is empty`},
		"{\n\"token\": \"hunter2\n}": {`the document is not JSON, line 2, column 18`},
		`{} {"token":"hunter2"}`:     {`the document is not JSON, line 1, column 4`},
		"{\n # hunter2\n}":           {`the document is not JSON, line 2, column 2: JSON has no comments`},
		"{\"token\":[1,\n ]}":        {`the document is not JSON, line 2, column 2: no comma may stand before the end`},
		`{"token":"hunter2",}`:       {`the document is not JSON, line 1, column 20: no comma`},
	} {
		var s settings
		err := config.Decode([]byte(doc), &s)
		if err == nil {
			t.Errorf("%s: accepted", doc)
			continue
		}
		text := err.Error()
		if strings.Contains(text, secret) {
			t.Errorf("%s: the error shows the value: %s", doc, text)
		}
		lines := strings.Split(text, "\n")
		for _, w := range want {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "config: "+w) }) {
				t.Errorf("%s: no fault %q in\n%s", doc, w, text)
			}
		}
		if len(lines) != len(want) {
			t.Errorf("%s: %d faults, want %d:\n%s", doc, len(lines), len(want), text)
		}
	}
}

func TestDecodeNeedsAStructToReadInto(t *testing.T) {
	t.Parallel()
	for _, into := range []any{nil, settings{}, new(int), (*settings)(nil)} {
		if err := config.Decode([]byte(`{}`), into); err == nil {
			t.Errorf("into a %T: accepted", into)
		}
	}
}

// Whatever Decode accepts, encoding/json accepts too, once durations are numbers.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"name":"n","inner":{"args":["x"],"waits":["1s"]}}`, `{"many":{"":{}}}`, `{"raw":[],"off":-1}`, `[`, `{"a":1,"a":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours struct {
			Name   string              `json:"name"`
			Inner  *inner              `json:"inner"`
			Many   map[string]struct{} `json:"many"`
			Token  auth.Secret         `json:"token"`
			Count  int                 `json:"count"`
			Params map[string][]string `json:"params"`
		}
		err := config.Decode(data, &ours)
		if err != nil {
			return
		}
		var std map[string]any
		if err := json.Unmarshal(data, &std); err != nil {
			t.Fatalf("accepted %q: %v", data, err)
		}
		if got, want := ours.Name, fmt.Sprint(std["name"]); std["name"] != nil && got != want {
			t.Errorf("name %q, want %q", got, want)
		}
		if (ours.Inner != nil) != (std["inner"] != nil) {
			t.Errorf("inner %v, of %q", ours.Inner, data)
		}
	})
}
