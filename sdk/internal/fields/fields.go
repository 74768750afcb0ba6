// Package fields says which members a struct has in JSON: for what reads and writes
// configurations, and for what describes them.
package fields

import (
	"reflect"
	"slices"
	"strings"
)

// A Field is one that JSON could have.
type Field struct {
	reflect.StructField
	// Member is its name in JSON, empty where its tag says that it has no place there.
	Member string
}

// Of lists the fields of a struct in their order: those that Go code can name, with
// the exported ones of embedded structs and of pointers to such. An embedded struct with
// a name in its tag is one field. Of two with one name in JSON the one that is less
// deeply embedded counts, and else the last.
func Of(t reflect.Type) []Field {
	var list []Field
	var whole []int // an embedded field whose own fields are not t's
	for _, f := range reflect.VisibleFields(t) {
		if whole != nil && len(f.Index) > len(whole) && slices.Equal(whole, f.Index[:len(whole)]) {
			continue
		}
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" && isStruct(f.Type) {
			if f.Type.Kind() == reflect.Pointer && !f.IsExported() {
				whole = f.Index // nobody could set it
			}
			continue
		}
		if f.Anonymous {
			whole = f.Index
		}
		if !f.IsExported() {
			continue
		}
		switch {
		case tag == "-":
			name = ""
		case name == "":
			name = f.Name
		}
		list = add(list, Field{f, name})
	}
	return list
}

func add(list []Field, f Field) []Field {
	i := slices.IndexFunc(list, func(other Field) bool { return f.Member != "" && other.Member == f.Member })
	switch {
	case i < 0:
		return append(list, f)
	case len(f.Index) <= len(list[i].Index):
		return append(slices.Delete(list, i, i+1), f)
	}
	return list
}

func isStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}
