package ssh

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestEveryFaultOfAConfigIsNamed(t *testing.T) {
	t.Parallel()
	_, err := New(Config{
		KnownHosts: []string{filepath.Join(t.TempDir(), "none")}, Agent: "-", DialTimeout: -1, KeepAlive: -2, KeepAliveTimeout: -1, StopTimeout: -1, SendTimeout: -2,
	})
	for _, field := range []string{"Address", "User", "Command", "KnownHosts", "KeyFiles", "DialTimeout", "KeepAlive", "KeepAliveTimeout", "StopTimeout", "SendTimeout"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
	const secret = "open sesame"
	cfg := Config{Passphrase: auth.NewSecret(secret)}
	b, err := json.Marshal(cfg)
	if err != nil || strings.Contains(string(b), secret) || strings.Contains(fmt.Sprintf("%+v", cfg), secret) {
		t.Errorf("the passphrase is shown: %s, %v", b, err)
	}
}
