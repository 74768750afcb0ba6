package bearer

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
)

func TestAConfigIsReadFromJSONAndShowsNoSecret(t *testing.T) {
	var cfg Config
	if err := config.Decode([]byte(`{"token": "`+token+`", "header": "X-Api-Key", "scheme": "-"}`), &cfg); err != nil {
		t.Fatal(err)
	}
	p := newProvider(t, cfg)
	if c, err := p.Credentials(t.Context(), auth.Request{}); err != nil || c.Header.Get("X-Api-Key") != token {
		t.Errorf("%v, %v", c, err)
	}
	data, err := json.Marshal(map[string]any{"token": cfg.Token})
	if err != nil || strings.Contains(string(data), token) {
		t.Errorf("%s, %v", data, err)
	}
	cfg = Config{}
	err = config.Decode([]byte(`{"command": {"args": ["x", "y"], "env": ["A=b"], "dir": "/", "timeout": "5s", "ttl": -1}}`), &cfg)
	if c := cfg.Command; err != nil || len(c.Args) != 2 || c.Env[0] != "A=b" || c.Dir != "/" || c.Timeout != 5*time.Second || c.TTL != -1 {
		t.Errorf("%+v, %v", c, err)
	}
}
