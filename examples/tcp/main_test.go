package main

import (
	"strings"
	"testing"
	"time"
)

func TestNoCallFailsWhileTheServerHangsUp(t *testing.T) {
	var out strings.Builder
	err := demo(t.Context(), &out, 16, 4, 300*time.Millisecond)
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
}
