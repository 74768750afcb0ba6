package sdk

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
	"github.com/go-mcpool/mcpool/sdk/internal/fields"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// schemaOf derives the JSON Schema of a configuration and the paths of its secrets.
func schemaOf[C any]() (json.RawMessage, []string, error) {
	t := reflect.TypeFor[C]()
	if t.Kind() != reflect.Struct {
		return nil, nil, fmt.Errorf("sdk: the configuration of a plugin is a struct, not %v", t)
	}
	schema, err := jsonschema.For[C](&jsonschema.ForOptions{IgnoreInvalidTypes: true, TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[auth.Secret]():  {Type: "string", WriteOnly: true, Description: "A secret: delivered apart from the configuration."},
		reflect.TypeFor[probe.Status](): {Type: "string", Enum: []any{"unknown", "healthy", "degraded", "unhealthy"}},
		reflect.TypeFor[time.Duration](): {
			Description: `A duration such as "1m30s", or -1 where that turns something off.`,
			AnyOf:       []*jsonschema.Schema{{Type: "string"}, {Const: new(any(-1))}},
		},
	}})
	if err != nil {
		return nil, nil, fmt.Errorf("sdk: no JSON Schema can be derived from %v: %w", t, err)
	}
	allOptional(schema)
	raw, err := json.Marshal(schema)
	if err != nil {
		return nil, nil, fmt.Errorf("sdk: the JSON Schema of %v: %w", t, err)
	}
	var paths []string
	var errs []error
	walk(t, "", nil, func(path, problem string) {
		if problem != "" {
			errs = append(errs, fmt.Errorf("sdk: %s in %v %s", path, t, problem))
			return
		}
		paths = append(paths, path)
	})
	return raw, paths, errors.Join(errs...)
}

// allOptional says what sdk/config does: it drops what must be there: the zero value of a field means its default,
// and it is the factory that knows which have none.
func allOptional(s *jsonschema.Schema) {
	s.Required = nil
	// Nor is null a value: a field is left out instead.
	if s.Types = slices.DeleteFunc(s.Types, func(t string) bool { return t == "null" }); len(s.Types) == 1 {
		s.Type, s.Types = s.Types[0], nil
	}
	for _, p := range s.Properties {
		allOptional(p)
	}
	for _, member := range []*jsonschema.Schema{s.Items, s.AdditionalProperties} { // of a list, of a map
		if member != nil {
			allOptional(member)
		}
	}
}

// walk visits the paths of the secrets in a type, in the order of its fields; those of a
// map that may hold any number of them end in ".*". What cannot be described or delivered
// is visited with its problem.
func walk(t reflect.Type, path string, above []reflect.Type, visit func(path, problem string)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[auth.Secret]() {
		visit(path, "")
		return
	}
	if slices.Contains(above, t) {
		return
	}
	above = append(above, t)
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.Array:
		if t.Kind() == reflect.Map && t.Key().Kind() == reflect.String && t.Elem() == reflect.TypeFor[auth.Secret]() {
			visit(join(path, "*"), "")
			return
		}
		walk(t.Elem(), join(path, "*"), above, func(path, problem string) {
			if problem == "" {
				problem = "is a secret, and has no path that it could be delivered by: a secret may be in structs, and in a map of nothing else"
			}
			visit(path, problem)
		})
	case reflect.Struct:
		for _, f := range fields.Of(t) {
			switch {
			case f.Anonymous: // the schema would have its fields, or nothing
				visit(join(path, f.Name), "is embedded, and would be one member: give the field a name")
			case f.Member != "":
				walk(f.Type, join(path, f.Member), above, visit)
			}
		}
	default:
	}
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// decode reads a configuration and its secrets into a C. The error joins an
// *auth.ConfigError per fault, and never shows a value.
func decode[C any](data []byte, secrets map[string][]byte, paths []string) (C, error) {
	var cfg C
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}")
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil || doc == nil {
		return cfg, decodeStrictly(data, &cfg) // which knows where it breaks off
	}
	var errs []error
	inline := func(path string) {
		errs = append(errs, &auth.ConfigError{
			Field: path, Problem: "is a secret and stands in the configuration: deliver it among the secrets",
		})
	}
	for _, path := range paths {
		if !strings.HasSuffix(path, "*") && has(doc, strings.Split(path, ".")) {
			inline(path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(secrets)) {
		names, member := namesOf(path, paths)
		switch {
		case names == nil:
			problem := "is not a secret of this plugin, which has none"
			if len(paths) > 0 {
				problem = fmt.Sprintf("is not a secret of this plugin, which has %q", paths)
			}
			errs = append(errs, &auth.ConfigError{Field: path, Problem: problem})
		case !has(doc, names):
			if err := put(doc, "", names, string(secrets[path])); err != nil {
				errs = append(errs, err)
			}
		case member: // else it was found above
			inline(path)
		}
	}
	if len(errs) > 0 {
		return cfg, errors.Join(errs...)
	}
	whole, err := json.Marshal(doc)
	if err != nil {
		return cfg, &auth.ConfigError{Field: "the configuration", Problem: "is not JSON"}
	}
	if err := decodeStrictly(whole, &cfg); err != nil {
		return cfg, err
	}
	return cfg, nil
}

// namesOf takes the path of a secret apart, nil if it is none of the plugin's. A member
// of a map may have any name, with dots too.
func namesOf(path string, paths []string) (names []string, member bool) {
	if slices.Contains(paths, path) && !strings.HasSuffix(path, "*") {
		return strings.Split(path, "."), false
	}
	for _, pattern := range paths {
		prefix, isMap := strings.CutSuffix(pattern, "*")
		if name, ok := strings.CutPrefix(path, prefix); isMap && ok && name != "" {
			return append(strings.Split(strings.TrimSuffix(prefix, "."), "."), name), true
		}
	}
	return nil, false
}

// has reports whether the document has a member below those names.
func has(doc map[string]json.RawMessage, names []string) bool {
	raw, ok := doc[names[0]]
	if !ok || len(names) == 1 {
		return ok
	}
	var inner map[string]json.RawMessage
	return json.Unmarshal(raw, &inner) == nil && has(inner, names[1:])
}

// put adds a secret to the part of the document that the path leads to.
func put(doc map[string]json.RawMessage, path string, names []string, value string) error {
	name := names[0]
	if len(names) == 1 {
		raw, err := json.Marshal(value)
		doc[name] = raw
		return err
	}
	inner := map[string]json.RawMessage{}
	if raw, ok := doc[name]; ok {
		if err := json.Unmarshal(raw, &inner); err != nil || inner == nil {
			return &auth.ConfigError{Field: join(path, name), Problem: "is not an object"}
		}
	}
	if err := put(inner, join(path, name), names[1:], value); err != nil {
		return err
	}
	raw, err := json.Marshal(inner)
	doc[name] = raw
	return err
}

// decodeStrictly is the place where a JSON object becomes a struct.
func decodeStrictly(data []byte, into any) error {
	return asConfigErrors(config.Decode(data, into))
}

// asConfigErrors gives the faults of the JSON the type that callers look for.
func asConfigErrors(err error) error {
	if err == nil {
		return nil
	}
	faults := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		faults = joined.Unwrap()
	}
	for i, fault := range faults {
		if fe, ok := errors.AsType[*config.FieldError](fault); ok {
			faults[i] = &auth.ConfigError{Field: cmp.Or(fe.Field, "the configuration"), Problem: fe.Problem}
		}
	}
	return errors.Join(faults...)
}
