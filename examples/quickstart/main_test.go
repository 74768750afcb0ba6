package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv("MCPOOL_QUICKSTART") == "serve" { // this binary is the server
		if err := runServer(os.Args[len(os.Args)-1]); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestTheQuickStartHolds(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, options{json: true, each: 200 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if !r.OK || r.Restart.Failed != 0 || r.Identities.Crossed != 0 || r.Restart.Calls == 0 || r.Identities.Calls != 640 {
		t.Errorf("got %s", out.Bytes())
	}
}
