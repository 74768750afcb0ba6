package stdio

import (
	"strings"
	"testing"
)

func TestTheLastWordsHoldNoPartOfASecret(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	for cut := range len(secret) + 1 {
		var tail Tail
		// What is kept begins in the middle of the secret.
		text := secret + " was refused\n" + strings.Repeat("x", tailBytes)
		text = text[:cut+tailBytes-len("\nthe end")] + "\nthe end"
		_, _ = tail.Write([]byte(strings.Repeat("y", 2*tailBytes-len(text)+1) + text))
		got := tail.Lines([]string{secret})
		if strings.Contains(got, "r2") || !strings.HasSuffix(got, "the end") {
			t.Errorf("%d bytes in: %.40q, %d bytes", cut, got, len(got))
		}
	}
}
