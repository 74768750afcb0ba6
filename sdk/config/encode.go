package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/go-mcpool/mcpool/sdk/internal/fields"
)

// Encode writes a configuration as the JSON object that Decode reads it from: into an
// empty struct of the same type, Decode makes an equal one. Fields that are zero are
// left out, so that they mean their default still; a pointer that is embedded and leads
// to no others comes back as nil. What from is, or points to, is a
// struct, or a map with keys that are strings.
//
// What a type's own MarshalJSON or String would say does not count, unless Decode
// asks that type too: those of a configuration mostly redact it. Secrets are not
// written. One that is not empty is a fault, as are fields that have no place in
// JSON and are set. The error joins a *FieldError per fault.
func Encode(from any) ([]byte, error) {
	var e encoder
	v := reflect.ValueOf(from)
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && !v.IsNil() && !e.leaf(v.Type()) {
		v = v.Elem()
	}
	if !v.IsValid() || !e.leaf(v.Type()) && v.Kind() != reflect.Struct && (v.Kind() != reflect.Map || v.Type().Key().Kind() != reflect.String) {
		return nil, fmt.Errorf("config: Encode needs a struct or a map with strings for keys, not %T", from)
	}
	doc := e.value(v, "", 0, false)
	if len(e.faults) == 0 && (len(doc) == 0 || doc[0] != '{') {
		e.fault("", "is not an object")
	}
	if err := errors.Join(e.faults...); err != nil {
		return nil, err
	}
	return doc, nil
}

// maxDepth ends what goes round in circles.
const maxDepth = 1000

type encoder struct{ faults []error }

func (e *encoder) fault(path, problem string) {
	e.faults = append(e.faults, &FieldError{Field: path, Problem: problem})
}

// secret is what auth.Secret has.
type secret interface {
	Reveal() string
	IsEmpty() bool
}

// leaf reports types whose form is their own affair, as it is for the decoder.
func (*encoder) leaf(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(jsonDecoders) || reflect.PointerTo(t).Implements(textDecoders)
}

// value is the decoder's, the other way round. Within an any null is a value, because
// the decoder does not look into one.
func (e *encoder) value(v reflect.Value, path string, depth int, within bool) json.RawMessage {
	t := v.Type()
	if depth > maxDepth {
		e.fault(path, "is nested too deeply")
		return nil
	}
	if s, ok := reflect.TypeAssert[secret](v); ok && t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		if !s.IsEmpty() {
			e.faults = append(e.faults, &FieldError{
				Field: path, Problem: "is a secret, and would be shown: leave it out, and deliver it apart", Secret: true,
			})
		}
		return json.RawMessage(`""`)
	}
	switch {
	case t == durationType:
		if v.Int() == -1 {
			return json.RawMessage("-1")
		}
		return e.marshal(reflect.ValueOf(time.Duration(v.Int()).String()), path)
	case e.leaf(t):
		return e.marshal(v, path)
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface:
		if v.IsNil() {
			if !within {
				e.fault(path, "is nil: leave it out")
			}
			return json.RawMessage("null")
		}
		return e.value(v.Elem(), path, depth+1, within || t.Kind() == reflect.Interface)
	case t.Kind() == reflect.Struct:
		return e.object(v, path, depth, within)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		members := make(map[string]json.RawMessage, v.Len())
		for key, elem := range v.Seq2() {
			members[key.String()] = e.value(elem, join(path, key.String()), depth+1, within)
		}
		return e.members(members, path)
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		list := make([]json.RawMessage, v.Len())
		for i := range list {
			list[i] = e.value(v.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1, within)
		}
		return e.marshal(reflect.ValueOf(list), path)
	}
	return e.marshal(v, path)
}

func (e *encoder) object(v reflect.Value, path string, depth int, within bool) json.RawMessage {
	members := make(map[string]json.RawMessage)
	for _, f := range fields.Of(v.Type()) {
		field, err := v.FieldByIndexErr(f.Index)
		switch {
		case err != nil || field.IsZero(): // an error where what it is embedded in is nil
		case f.Member == "":
			e.fault(join(path, f.Name), "is set, and has no place in JSON: leave it out")
		default:
			members[f.Member] = e.value(field, join(path, f.Member), depth+1, within)
		}
	}
	return e.members(members, path)
}

func (e *encoder) members(m map[string]json.RawMessage, path string) json.RawMessage {
	for name := range m {
		if !utf8.ValidString(name) {
			e.fault(join(path, name), "has a name that is not UTF-8")
		}
	}
	return e.marshal(reflect.ValueOf(m), path)
}

// marshal writes what encoding/json and Decode agree on.
func (e *encoder) marshal(v reflect.Value, path string) json.RawMessage {
	if v.Kind() == reflect.String && !utf8.ValidString(v.String()) {
		e.fault(path, "is not UTF-8, which JSON cannot hold")
		return nil
	}
	addressed := reflect.New(v.Type()) // some types have their methods on the pointer
	addressed.Elem().Set(v)
	raw, err := json.Marshal(addressed.Interface())
	if err != nil { // its text may quote the value
		e.fault(path, "cannot be written as JSON")
		return nil
	}
	return raw
}
