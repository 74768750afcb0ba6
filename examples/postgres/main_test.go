package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestNoQueryFailsWhileTheServerIsTreatedBadly(t *testing.T) {
	var out strings.Builder
	err := demo(t.Context(), &out, 16, 4, time.Second)
	if errors.Is(err, errNoPostgres) && os.Getenv("MCPOOL_REQUIRE_POSTGRES") == "" {
		t.Skip(err)
	}
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
}
