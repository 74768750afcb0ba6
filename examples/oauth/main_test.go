package main

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTheUnattendedExampleHolds(t *testing.T) {
	var out bytes.Buffer
	if err := demonstrate(t.Context(), &out, options{json: true, each: 4 * time.Second, lifetime: 3 * time.Second}); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if !r.OK || r.Machine.Failed+r.People.Failed+r.Crossed != 0 || !r.Asked || !r.Revoked || !r.Kept || !r.Device ||
		r.Server.Logins != 4 || r.Server.Refreshes == 0 || r.Server.Reused != 0 {
		t.Errorf("got %s", out.Bytes())
	}
}

// reader does what the terminal tells a person to do.
type reader struct {
	mu   sync.Mutex
	text strings.Builder
	done bool
	ctx  context.Context
}

var (
	printedURL  = regexp.MustCompile(`(?m)^    (http://\S+)$`)
	printedCode = regexp.MustCompile(`enter the code: (\S+)`)
)

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Write(b)
	if found := printedURL.FindSubmatch(b); found != nil && !r.done {
		r.done = true
		u := string(found[1])
		if code := printedCode.FindSubmatch(b); code != nil && !strings.Contains(u, "user_code=") {
			u += "?user_code=" + string(code[1])
		}
		if err := person("alice")(r.ctx, u); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func TestALoginCanBeFollowedInATerminal(t *testing.T) {
	t.Setenv("DISPLAY", "")
	t.Setenv("WAYLAND_DISPLAY", "")
	for name, o := range map[string]options{"redirect": {}, "device": {device: true}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r := &reader{ctx: ctx}
			o.each, o.lifetime = 2*time.Second, 3*time.Second
			if err := logIn(ctx, r, o); err != nil {
				t.Fatalf("%v\n%s", err, r.text.String())
			}
			if text := r.text.String(); !strings.Contains(text, `The server calls you "alice".`) || !strings.Contains(text, "no call failed") {
				t.Errorf("printed\n%s", text)
			}
		})
	}
}
