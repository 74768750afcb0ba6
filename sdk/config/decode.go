package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/internal/fields"
)

// FieldError says what is wrong with one member of the JSON.
type FieldError struct {
	// Field is its path, such as "command.args[1]"; empty for the document itself.
	Field string
	// Problem completes the sentence that Field begins; it never holds the value.
	Problem string
	// Secret says that it is one which Encode does not write.
	Secret bool
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return "config: the document " + e.Problem
	}
	return "config: " + e.Field + " " + e.Problem
}

// Decode reads one JSON object into the struct that into points to. Fields without
// a member keep their values. The error joins a *FieldError per fault; into is then
// partly written and of no use.
func Decode(data []byte, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("config: Decode needs a pointer to a struct, not %T", into)
	}
	var d decoder
	var doc json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil {
		d.faultf("", "%s", notJSON(data, err))
	} else {
		d.value(doc, v.Elem(), "")
	}
	return errors.Join(d.faults...)
}

// notJSON says where JSON breaks off and what people often do there, without what stands
// there.
func notJSON(data []byte, err error) string {
	if len(bytes.TrimSpace(data)) == 0 {
		return "is empty: it has to be a JSON object, {} at least"
	}
	se, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return "is not JSON"
	}
	before := data[:min(max(int(se.Offset)-1, 0), len(data))] // Offset is behind the fault
	line, column := 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n')
	at := fmt.Sprintf("is not JSON, line %d, column %d", line, column)
	if len(before) == len(data) {
		return at
	}
	switch c := data[len(before)]; {
	case c == '/' || c == '#':
		return at + ": JSON has no comments"
	case (c == '}' || c == ']') && bytes.HasSuffix(bytes.TrimSpace(before), []byte(",")):
		return at + ": no comma may stand before the end"
	}
	return at
}

type decoder struct{ faults []error }

func (d *decoder) faultf(path, format string, args ...any) {
	d.faults = append(d.faults, &FieldError{Field: path, Problem: fmt.Sprintf(format, args...)})
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	jsonDecoders = reflect.TypeFor[json.Unmarshaler]()
	textDecoders = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value reads one JSON value, which is valid.
func (d *decoder) value(raw json.RawMessage, v reflect.Value, path string) {
	raw = bytes.TrimSpace(raw)
	t := v.Type()
	switch {
	case raw[0] == 'n':
		d.faultf(path, "is null: leave it out")
	case t == durationType:
		d.duration(raw, v, path)
	case reflect.PointerTo(t).Implements(jsonDecoders):
		d.leaf(raw, v, path)
	case reflect.PointerTo(t).Implements(textDecoders):
		if raw[0] != '"' {
			d.faultf(path, "is not a string")
			return
		}
		d.leaf(raw, v, path)
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		d.value(raw, v.Elem(), path)
	case t.Kind() == reflect.Struct:
		d.object(raw, v, path)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		d.mapping(raw, v, path)
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8: // bytes are base64
		d.list(raw, v, path)
	default:
		d.leaf(raw, v, path)
	}
}

func (d *decoder) duration(raw json.RawMessage, v reflect.Value, path string) {
	var s string
	if string(raw) == "-1" {
		v.SetInt(-1)
		return
	}
	if json.Unmarshal(raw, &s) == nil {
		if parsed, err := time.ParseDuration(s); err == nil {
			v.SetInt(int64(parsed))
			return
		}
	}
	d.faultf(path, `is not a duration: write it like "30s", "5m" or "1h30m"`)
}

func (d *decoder) leaf(raw json.RawMessage, v reflect.Value, path string) {
	if json.Unmarshal(raw, v.Addr().Interface()) == nil {
		return
	}
	switch kind := v.Kind(); { // the error of encoding/json may quote the value
	case kind == reflect.String:
		d.faultf(path, "is not a string")
	case kind == reflect.Bool:
		d.faultf(path, "is not true or false")
	case v.CanInt():
		d.faultf(path, "is not a whole number, or too large a one")
	case v.CanUint():
		d.faultf(path, "is not a whole number from 0 on, or too large a one")
	case v.CanFloat():
		d.faultf(path, "is not a number, or too large a one")
	default:
		d.faultf(path, "is not what a %s is written like", v.Type())
	}
}

func (d *decoder) list(raw json.RawMessage, v reflect.Value, path string) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		d.faultf(path, "is not a list")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(item, list.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(list)
}

func (d *decoder) mapping(raw json.RawMessage, v reflect.Value, path string) {
	m := reflect.MakeMap(v.Type())
	d.members(raw, path, func(name string, raw json.RawMessage) {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(raw, elem, join(path, name))
		m.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), elem)
	})
	v.Set(m)
}

func (d *decoder) object(raw json.RawMessage, v reflect.Value, path string) {
	known := make(map[string][]int)
	for _, f := range fields.Of(v.Type()) {
		if f.Member != "" {
			known[f.Member] = f.Index
		}
	}
	d.members(raw, path, func(name string, raw json.RawMessage) {
		index, ok := known[name]
		if !ok {
			d.faultf(join(path, name), "is not known: there are %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			return
		}
		d.value(raw, fieldAt(v, index), join(path, name))
	})
}

// fieldAt is a field of a struct, with what it is embedded in made where that is nil.
func fieldAt(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

// members calls f with each member of an object, once for each name.
func (d *decoder) members(raw json.RawMessage, path string, f func(string, json.RawMessage)) {
	if raw[0] != '{' {
		d.faultf(path, "is not an object")
		return
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the brace; all of it was found valid
	for seen := make(map[string]bool); dec.More(); {
		key, _ := dec.Token()
		name, _ := key.(string)
		var member json.RawMessage
		if err := dec.Decode(&member); err != nil {
			d.faultf(join(path, name), "cannot be read")
			return
		}
		if seen[name] {
			d.faultf(join(path, name), "is there twice")
			continue
		}
		seen[name] = true
		f(name, member)
	}
}

// Join adds the name of a member to a path, as FieldError.Field has it: what is no
// plain name is quoted, and cut.
func Join(path, name string) string { return join(path, name) }

func join(path, name string) string {
	plain := name != "" && len(name) <= 64 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
	if !plain {
		name = fmt.Sprintf("%.64q", name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}
