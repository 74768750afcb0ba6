package fields_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/internal/fields"
)

type Deep struct {
	E int `json:"e"`
	F int `json:"d"`
}

type Base struct {
	*Deep
	A, B int
	C    int `json:"c"`
	gone int
}

type low struct{ L, M int }

type Two struct{ M, N int }

type Name string

// They are what encoding/json takes the members of a struct to be.
func TestMembersAreThoseOfEncodingJSON(t *testing.T) {
	t.Parallel()
	base := Base{Deep: &Deep{E: 1, F: 2}, C: 3, gone: 4}
	for name, v := range map[string]any{
		"plain": struct {
			A      int
			B      int `json:"b,omitempty"`
			C      int `json:",string"`
			Hidden int `json:"-"`
			Dash   int `json:"-,"` //nolint:staticcheck // a member named "-" is what is meant
			small  int
		}{B: 1, small: 1},
		"embedded":            struct{ Base }{base},
		"embedded by pointer": struct{ *Base }{&base},
		"unexported":          struct{ low }{},
		"unexported pointer":  struct{ *low }{},
		"shadowed": struct {
			Base
			B string
		}{Base: base},
		"shadowed by member": struct {
			Base
			X int `json:"c"`
			Y int `json:"d"`
		}{Base: base},
		"shadowed from before": struct {
			X    int `json:"c"`
			Y    int `json:"d"`
			Base     //nolint:embeddedstructfieldcheck // that it comes last is the point
		}{Base: base},
		"ambiguous": struct {
			low
			Two
			Other struct{ M int } `json:"other"`
		}{},
		"embedded with a name": struct {
			Base `json:"base"`
			low

			D int
		}{Base: base},
		"embedded and left out": struct {
			Base `json:"-"`
			D    int
		}{Base: base},
		"no struct": struct{ Name }{},
	} {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for _, f := range fields.Of(reflect.TypeOf(v)) {
			if f.Member == "" {
				continue
			}
			if _, twice := got[f.Member]; twice {
				t.Errorf("%s: %s is there twice", name, f.Member)
			}
			field := reflect.ValueOf(v).FieldByIndex(f.Index)
			value, err := json.Marshal(field.Interface())
			if err != nil {
				t.Fatal(err)
			}
			got[f.Member] = string(value)
		}
		for member, raw := range want {
			if value := string(raw); got[member] != value && "\""+got[member]+"\"" != value {
				t.Errorf("%s: %s is %q, and %s in encoding/json", name, member, got[member], value)
			}
		}
		if members := slices.Sorted(maps.Keys(got)); len(members) != len(want) {
			t.Errorf("%s: %q, and %s in encoding/json", name, members, raw)
		}
	}
}

// What Go code cannot name has no member; encoding/json would look at the members' names.
func TestWhatGoHidesIsNoMember(t *testing.T) {
	t.Parallel()
	list := fields.Of(reflect.TypeFor[struct {
		Deep
		E     int
		One   int `json:"-"`
		Other int `json:"-"`
	}]())
	var names []string
	for _, f := range list {
		names = append(names, f.Name+" "+f.Member)
	}
	if want := []string{"F d", "E E", "One ", "Other "}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// They are the author's mistake, which go vet tells.
func TestOfTwoMembersTheLastCounts(t *testing.T) {
	t.Parallel()
	field := func(name string) reflect.StructField {
		return reflect.StructField{Name: name, Type: reflect.TypeFor[int](), Tag: `json:"twice"`}
	}
	list := fields.Of(reflect.StructOf([]reflect.StructField{field("X"), field("Y")}))
	if len(list) != 1 || list[0].Name != "Y" {
		t.Errorf("%+v, want Y alone", list)
	}
}
