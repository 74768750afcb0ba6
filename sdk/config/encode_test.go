package config_test

import (
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
)

// shy prints itself redacted, as the Config structs of plugins do.
type shy struct {
	Wait  time.Duration `json:"wait"`
	Names []string      `json:"names"`
}

func (shy) MarshalJSON() ([]byte, error) { return json.Marshal("shy") }

func TestEncodeIsTheInverseOfDecode(t *testing.T) {
	t.Parallel()
	full := settings{
		Shared: Shared{"n<&>"}, Lazy: &Lazy{Later: new(int)}, quiet: quiet{true}, Timeout: 90 * time.Second, Off: -1,
		Inner:   inner{Args: []string{}, Waits: []time.Duration{time.Second, -1, -2 * time.Hour}},
		Pointer: &inner{}, Many: map[string]inner{"a b": {Args: []string{"x"}}, "": {}},
		Params: map[string][]string{"p": {"1", "2"}}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Count: -7, Small: 255, Ratio: 0.5, On: true, Bytes: []byte("hi"),
		Any:   map[string]any{"x": []any{1.0, nil, map[string]any{"y": nil}}},
		Plain: "p", Number: "12", Raw: json.RawMessage(`{"kept":[1]}`),
	}
	for _, from := range []settings{full, {}, {Shared: Shared{"only"}}} {
		doc, err := config.Encode(&from)
		if err != nil {
			t.Fatal(err)
		}
		var got settings
		if err := config.Decode(doc, &got); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		if !reflect.DeepEqual(got, from) {
			t.Errorf("by way of %s\ngot  %+v\nwant %+v", doc, got, from)
		}
	}
}

func TestEncodeWritesWhatAPersonWould(t *testing.T) {
	t.Parallel()
	for want, from := range map[string]any{
		`{}`:                                    settings{},
		`{"names":["a"],"wait":"1m30s"}`:        shy{Wait: 90 * time.Second, Names: []string{"a"}},
		`{"a":1,"shy":{"wait":"1s"},"w":"5ms"}`: map[string]any{"a": 1, "shy": &shy{Wait: time.Second}, "w": 5 * time.Millisecond},
		`{"raw":true}`:                          json.RawMessage(`{"raw":true}`),
		`{"a":["b"]}`:                           map[string][]string{"a": {"b"}},
		`{"a":{"token":""}}`:                    map[string]any{"a": map[string]auth.Secret{"token": {}}},
	} {
		if got, err := config.Encode(from); string(got) != want || err != nil {
			t.Errorf("%T: got %s, %v, want %s", from, got, err, want)
		}
	}
}

func TestEncodeReportsEveryFaultByItsPathAndShowsNoValue(t *testing.T) {
	t.Parallel()
	const hush = "hunter2"
	loop := map[string]any{}
	loop["self"] = loop
	token := auth.NewSecret(hush)
	for name, kase := range map[string]struct {
		from any
		want []string
	}{
		"secrets":  {settings{Token: token, Many: map[string]inner{}, Any: map[string]any{"deep": []any{&token}}}, []string{`any.deep[0] is a secret`, `token is a secret`}},
		"no place": {settings{Hidden: func() {}, Token: token}, []string{`token is a secret`, `Hidden is set, and has no place in JSON`}},
		"nil":      {map[string]any{"a": nil, "b": []*inner{nil}}, []string{`a is nil: leave it out`}},
		"pointers": {map[string][]*inner{"b": {nil}}, []string{`b[0] is nil: leave it out`}},
		"numbers":  {settings{Ratio: math.NaN(), Plain: "\xff", Number: hush}, []string{`Plain is not UTF-8`, `number cannot be written as JSON`, `ratio cannot be written as JSON`}},
		"circles":  {loop, []string{`self.self`}},
		"a list":   {json.RawMessage(`[]`), []string{`the document is not an object`}},
		"no JSON":  {json.RawMessage(hush), []string{`the document cannot be written as JSON`}},
	} {
		doc, err := config.Encode(kase.from)
		if err == nil {
			t.Errorf("%s: written as %s", name, doc)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if strings.Contains(err.Error(), hush) {
			t.Errorf("%s: the error shows the value: %s", name, err)
		}
		for _, w := range kase.want {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "config: "+w) }) {
				t.Errorf("%s: no fault %q in\n%s", name, w, err)
			}
		}
		if len(lines) != len(kase.want) {
			t.Errorf("%s: %d faults, want %d:\n%s", name, len(lines), len(kase.want), err)
		}
	}
	for _, from := range []any{nil, 7, "x", []string{}, (*settings)(nil), map[int]string{}} {
		if _, err := config.Encode(from); err == nil {
			t.Errorf("a %T: accepted", from)
		}
	}
}

// What Decode read, Encode writes so that Decode reads the same.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{`{"name":"n","inner":{"args":["x"],"waits":["1s",-1]}}`, `{"many":{"":{}},"any":{"a":[null]}}`, `{"raw":[ ],"off":-1}`, `{"pointer":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var one, two settings
		if config.Decode(data, &one) != nil || !one.Token.IsEmpty() {
			return
		}
		doc, err := config.Encode(one)
		if err != nil {
			t.Fatalf("%q was read, and cannot be written: %v", data, err)
		}
		if err := config.Decode(doc, &two); err != nil {
			t.Fatalf("%q became %s: %v", data, doc, err)
		}
		again, err := config.Encode(two)
		if err != nil || string(again) != string(doc) {
			t.Errorf("%q became %s, then %s, %v", data, doc, again, err)
		}
	})
}
