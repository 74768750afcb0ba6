package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a string that does not show itself: whatever prints, logs or marshals
// it writes "[redacted]", and only Reveal gives it away. The zero Secret is empty.
// Secrets are compared with Equal; == does not compile.
//
// It protects against accidents, not against code that wants the value. It is not
// wiped from memory either: Go strings cannot be.
type Secret struct {
	_ [0]func() // not comparable
	// A pointer, because fmt calls no methods on unexported fields of other
	// structs: it prints what they hold, and of a nested pointer just the address.
	value *string
}

// NewSecret returns a Secret that holds value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value. Keep the result out of errors, logs and long-lived
// structs.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsEmpty reports whether there is no value.
func (s Secret) IsEmpty() bool { return s.value == nil }

// Equal reports whether both hold the same value, in a time that depends on their
// lengths at most.
func (s Secret) Equal(other Secret) bool {
	a, b := sha256.Sum256([]byte(s.Reveal())), sha256.Sum256([]byte(other.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String returns "[redacted]", also for an empty Secret.
func (s Secret) String() string { return redacted }

// GoString is String.
func (s Secret) GoString() string { return redacted }

// Format writes String for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns String: a Secret does not survive a round trip.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns String, quoted.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// UnmarshalText takes the text as the value, so that configuration can be read
// into a Secret.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
