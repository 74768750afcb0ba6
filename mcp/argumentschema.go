package mcpool

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schemas come from servers, and checking with one must neither run for ever nor
// overflow the stack, which no recover would catch. Both can happen where a schema
// applies others to the same value: through $ref, allOf and the like.

// maxSteps bounds how many schemas may be applied to one value.
const maxSteps = 10_000

var (
	errSchemaLoops = errors.New("the schema refers to itself without end")
	errSchemaLarge = fmt.Errorf("the schema applies more than %d schemas to one value", maxSteps)
)

// bounded returns an error unless checking with the schema is known to end soon.
func bounded(root *jsonschema.Schema) error {
	b := bounds{root: root, steps: make(map[*jsonschema.Schema]int)}
	return b.all(root, true)
}

// bounds counts how many schemas are applied to a value by each schema.
type bounds struct {
	root  *jsonschema.Schema
	steps map[*jsonschema.Schema]int // -1 while it is being counted
}

// all looks at a schema and everything below it.
func (b *bounds) all(s *jsonschema.Schema, isRoot bool) error {
	if s == nil {
		return nil
	}
	if s.DynamicRef != "" || s.ID != "" && !isRoot {
		return errors.New("the schema has references that are not followed here")
	}
	if _, err := b.count(s); err != nil {
		return err
	}
	for _, child := range children(s) {
		if err := b.all(child, false); err != nil {
			return err
		}
	}
	return nil
}

// count returns how many schemas s applies to the value it is applied to.
func (b *bounds) count(s *jsonschema.Schema) (int, error) {
	if n, ok := b.steps[s]; ok {
		if n < 0 {
			return 0, errSchemaLoops
		}
		return n, nil
	}
	b.steps[s] = -1
	total := 1
	next := inPlace(s)
	if s.Ref != "" {
		to, ok := local(b.root, s.Ref)
		if !ok {
			return 0, fmt.Errorf("the schema refers to %.100q, which is not followed here", s.Ref)
		}
		next = append(next, to)
	}
	for _, child := range next {
		n, err := b.count(child)
		if err != nil {
			return 0, err
		}
		if total += n; total > maxSteps {
			return 0, errSchemaLarge
		}
	}
	b.steps[s] = total
	return total, nil
}

// inPlace returns the schemas that s applies to the same value.
func inPlace(s *jsonschema.Schema) (list []*jsonschema.Schema) {
	for _, group := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf, {s.Not, s.If, s.Then, s.Else}} {
		for _, child := range group {
			if child != nil {
				list = append(list, child)
			}
		}
	}
	for _, group := range []map[string]*jsonschema.Schema{s.DependentSchemas, s.DependencySchemas} {
		for _, child := range group {
			if child != nil {
				list = append(list, child)
			}
		}
	}
	return list
}

// children returns all schemas directly within s.
func children(s *jsonschema.Schema) []*jsonschema.Schema {
	list := inPlace(s)
	list = append(list, s.PrefixItems...)
	list = append(list, s.ItemsArray...)
	list = append(list, s.Items, s.AdditionalItems, s.Contains, s.UnevaluatedItems, s.AdditionalProperties,
		s.PropertyNames, s.UnevaluatedProperties, s.ContentSchema)
	for _, group := range []map[string]*jsonschema.Schema{s.Defs, s.Definitions, s.Properties, s.PatternProperties} {
		for _, child := range group {
			list = append(list, child)
		}
	}
	return list
}

// local finds the schema that a reference within the document means: the document
// itself, or one of its definitions or properties.
func local(root *jsonschema.Schema, ref string) (*jsonschema.Schema, bool) {
	pointer, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil, false
	}
	at := root
	parts := strings.Split(pointer, "/")
	if parts[0] != "" || len(parts)%2 == 0 {
		return nil, false // an anchor, or a path into something else
	}
	for i := 1; i < len(parts); i += 2 {
		name := strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[i+1])
		if strings.Contains(name, "%") {
			return nil, false
		}
		group := map[string]map[string]*jsonschema.Schema{
			"$defs": at.Defs, "definitions": at.Definitions, "properties": at.Properties,
		}[parts[i]]
		if at = group[name]; at == nil {
			return nil, false
		}
	}
	return at, true
}
