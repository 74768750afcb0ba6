package mcpool

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
)

// explain finds the first argument that is wrong, by the keywords that schemas of
// tools are made of. The verdict was the library's: this only finds words for it,
// without the values, and where it finds none it says so with an empty problem.
func (s *toolSchema) explain(args any) (path, problem string) {
	return s.why(s.root, args, "")
}

// why goes along the schema and the value at once.
func (s *toolSchema) why(at *jsonschema.Schema, v any, path string) (string, string) {
	if at == nil {
		return "", ""
	}
	if at.Ref != "" {
		if to, ok := local(s.root, at.Ref); ok {
			if p, problem := s.why(to, v, path); problem != "" {
				return p, problem
			}
		}
	}
	if problem := whyType(at, v); problem != "" {
		return path, problem
	}
	if problem := whyValue(at, v); problem != "" {
		return path, problem
	}
	switch v := v.(type) {
	case map[string]any:
		if p, problem := s.whyObject(at, v, path); problem != "" {
			return p, problem
		}
	case []any:
		if p, problem := s.whyArray(at, v, path); problem != "" {
			return p, problem
		}
	}
	for _, part := range at.AllOf {
		if p, problem := s.why(part, v, path); problem != "" {
			return p, problem
		}
	}
	return path, s.whyNone(at, v)
}

// whyNone tells whether none of several alternatives fits.
func (s *toolSchema) whyNone(at *jsonschema.Schema, v any) string {
	for _, list := range [][]*jsonschema.Schema{at.AnyOf, at.OneOf} {
		fits := len(list) == 0
		var wanted []string
		for _, part := range list {
			_, problem := s.why(part, v, "")
			fits = fits || problem == ""
			if want, ok := strings.CutPrefix(problem, "must be "); ok && !strings.Contains(want, ", not ") {
				wanted = append(wanted, want)
			} else if want, _, ok := strings.Cut(want, ", not "); ok {
				wanted = append(wanted, want)
			}
		}
		switch {
		case fits:
		case len(wanted) == len(list):
			return "must be " + strings.Join(slices.Compact(wanted), " or ")
		default:
			return "matches none of the alternatives in the tool's input schema"
		}
	}
	return ""
}

func whyType(at *jsonschema.Schema, v any) string {
	want := at.Types
	if at.Type != "" {
		want = []string{at.Type}
	}
	got := typeOf(v)
	if len(want) == 0 || slices.Contains(want, got) || got == "integer" && slices.Contains(want, "number") {
		return ""
	}
	named := make([]string, 0, len(want))
	for _, t := range want {
		named = append(named, article(t))
	}
	return "must be " + strings.Join(named, " or ") + ", not " + article(got)
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
	}
	return "number"
}

func article(t string) string {
	switch t {
	case "null":
		return t
	case "integer", "array", "object":
		return "an " + t
	}
	return "a " + t
}

// whyValue looks at what a value of the right type may be.
func whyValue(at *jsonschema.Schema, v any) string {
	if at.Enum != nil && !slices.ContainsFunc(at.Enum, func(e any) bool { return reflect.DeepEqual(e, v) }) {
		return "must be one of " + listed(at.Enum)
	}
	if at.Const != nil && !reflect.DeepEqual(*at.Const, v) {
		return "must be " + listed([]any{*at.Const})
	}
	switch v := v.(type) {
	case string:
		n := utf8.RuneCountInString(v)
		switch {
		case at.MinLength != nil && n < *at.MinLength:
			return fmt.Sprintf("must have at least %d characters", *at.MinLength)
		case at.MaxLength != nil && n > *at.MaxLength:
			return fmt.Sprintf("must have at most %d characters", *at.MaxLength)
		case at.Pattern != "":
			if re, err := regexp.Compile(at.Pattern); err == nil && !re.MatchString(v) {
				return fmt.Sprintf("must match the pattern %.200q", at.Pattern)
			}
		}
	case float64:
		switch {
		case at.Minimum != nil && v < *at.Minimum:
			return fmt.Sprintf("must be at least %v", *at.Minimum)
		case at.Maximum != nil && v > *at.Maximum:
			return fmt.Sprintf("must be at most %v", *at.Maximum)
		case at.ExclusiveMinimum != nil && v <= *at.ExclusiveMinimum:
			return fmt.Sprintf("must be more than %v", *at.ExclusiveMinimum)
		case at.ExclusiveMaximum != nil && v >= *at.ExclusiveMaximum:
			return fmt.Sprintf("must be less than %v", *at.ExclusiveMaximum)
		case at.MultipleOf != nil && *at.MultipleOf != 0 && math.Mod(v, *at.MultipleOf) != 0:
			return fmt.Sprintf("must be a multiple of %v", *at.MultipleOf)
		}
	}
	return ""
}

// maxListed is how many of the values that a schema allows an error names.
const maxListed = 20

func listed(values []any) string {
	var parts []string
	for _, v := range values[:min(len(values), maxListed)] {
		raw, err := json.Marshal(v)
		if err != nil {
			raw = []byte("?")
		}
		parts = append(parts, fmt.Sprintf("%.100s", raw))
	}
	if len(values) > maxListed {
		parts = append(parts, "…")
	}
	return strings.Join(parts, ", ")
}

func (s *toolSchema) whyObject(at *jsonschema.Schema, v map[string]any, path string) (string, string) {
	for _, name := range at.Required {
		if _, ok := v[name]; !ok {
			return path + pointerStep(name), "is required"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		property, known := at.Properties[name]
		if !known && at.PatternProperties == nil && at.AdditionalProperties != nil {
			if refusesAll(at.AdditionalProperties) {
				return path + pointerStep(name), "is not known: " + knownNames(at)
			}
			property = at.AdditionalProperties
		}
		if p, problem := s.why(property, v[name], path+pointerStep(name)); problem != "" {
			return p, problem
		}
	}
	switch {
	case at.MinProperties != nil && len(v) < *at.MinProperties:
		return path, fmt.Sprintf("must have at least %d properties", *at.MinProperties)
	case at.MaxProperties != nil && len(v) > *at.MaxProperties:
		return path, fmt.Sprintf("must have at most %d properties", *at.MaxProperties)
	}
	return "", ""
}

// refusesAll recognises the schema false.
func refusesAll(s *jsonschema.Schema) bool {
	raw, err := json.Marshal(s)
	return err == nil && (string(raw) == "false" || string(raw) == `{"not":true}` || string(raw) == `{"not":{}}`)
}

func knownNames(at *jsonschema.Schema) string {
	if len(at.Properties) == 0 {
		return "nothing is taken here"
	}
	names := slices.Sorted(maps.Keys(at.Properties))
	if len(names) > maxListed {
		names = append(names[:maxListed], "…")
	}
	return "there is " + strings.Join(names, ", ")
}

func (s *toolSchema) whyArray(at *jsonschema.Schema, v []any, path string) (string, string) {
	switch {
	case at.MinItems != nil && len(v) < *at.MinItems:
		return path, fmt.Sprintf("must have at least %d items", *at.MinItems)
	case at.MaxItems != nil && len(v) > *at.MaxItems:
		return path, fmt.Sprintf("must have at most %d items", *at.MaxItems)
	}
	first := slices.Concat(at.PrefixItems, at.ItemsArray)
	for i, item := range v {
		schema := at.Items
		if i < len(first) {
			schema = first[i]
		}
		if p, problem := s.why(schema, item, fmt.Sprintf("%s/%d", path, i)); problem != "" {
			return p, problem
		}
	}
	return "", ""
}

// pointerStep writes a name as one step of a JSON pointer (RFC 6901, 3).
func pointerStep(name string) string {
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
