package mcpool

// ArgumentError says what is wrong with the arguments of a call. Nothing was sent.
// It holds no value of an argument, so that it may be logged, and it is written so
// that a model that reads it can do better.
type ArgumentError struct {
	Tool string
	// Path is the argument as a JSON pointer (RFC 6901), such as /filter/0/name;
	// empty for the arguments as a whole.
	Path string
	// Problem says what is wanted.
	Problem string
}

func (e *ArgumentError) Error() string {
	if e.Path == "" {
		return "mcpool: tool " + e.Tool + ": the arguments " + e.Problem
	}
	return "mcpool: tool " + e.Tool + ": argument " + e.Path + " " + e.Problem
}
