package authhttp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestABodyIsReadWholeWhateverItsLengthIsSaidToBe(t *testing.T) {
	t.Parallel()
	const text = "a body of thirty-one characters"
	for _, expected := range []int64{-1, 0, 1, 30, 31, 32, 1000, 1 << 40} {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)),
			"with the end": iotest.DataErrReader(strings.NewReader(text)),
		} {
			if got, err := readUpTo(r, 1<<20, expected); string(got) != text || err != nil {
				t.Errorf("%s, said to be %d: %q, %v", name, expected, got, err)
			}
		}
		if got, err := readUpTo(strings.NewReader(text), 10, expected); string(got) != text[:10] || err != nil {
			t.Errorf("limited, said to be %d: %q, %v", expected, got, err)
		}
		broken := errors.New("broken")
		if _, err := readUpTo(io.MultiReader(strings.NewReader("a body"), iotest.ErrReader(broken)), 1<<20, expected); !errors.Is(err, broken) {
			t.Errorf("broken, said to be %d: %v", expected, err)
		}
		if _, err := readUpTo(io.MultiReader(strings.NewReader("a body"), iotest.ErrReader(io.ErrUnexpectedEOF)), 1<<20, expected); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut off, said to be %d: %v", expected, err)
		}
	}
	if got, err := readUpTo(bytes.NewReader(nil), 10, 5); len(got) != 0 || err != nil {
		t.Errorf("empty: %q, %v", got, err)
	}
}
