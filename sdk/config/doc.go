// Package config reads the configuration of a plugin from JSON into the struct that
// a Go program would fill in, and writes such a struct as JSON.
//
// [Decode] is encoding/json with five differences. A member that no field is for is
// a fault, also when it differs in case only; so is one that appears twice, and
// null. A time.Duration is a string such as "1m30s", or the number -1 where that
// turns something off. Of the fields of embedded structs those count that Go code can
// name, as in the schema of a plugin. All faults are reported at once, each by its
// path, and no text of one holds a value.
//
// [Encode] is its inverse.
//
// # Concurrency
//
// There is no state: all functions may be called from any number of goroutines.
package config
