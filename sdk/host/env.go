package host

import (
	"fmt"
	"os"
	"strings"
)

// EnvAWS returns the variables that the AWS SDKs read.
func EnvAWS() []string { return []string{"AWS_*"} }

// EnvProxy returns the variables that name proxies.
func EnvProxy() []string {
	return []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
}

// EnvTLS returns the variables that name the roots of trust.
func EnvTLS() []string { return []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} }

// checkEnvName accepts names and PREFIX_*.
func checkEnvName(pattern string) error {
	name := strings.TrimSuffix(pattern, "*")
	switch {
	case name == "":
		return fmt.Errorf("has %q, which would pass everything or nothing: name the variables", pattern)
	case name != pattern && !strings.HasSuffix(name, "_"):
		return fmt.Errorf("has %q: a prefix ends in _*", pattern)
	case strings.ContainsAny(name, "=*\x00"):
		return fmt.Errorf("has %q, which is no name of a variable", pattern)
	case reservedEnv(name):
		return fmt.Errorf("has %q, which belongs to the handshake", pattern)
	}
	return nil
}

// reservedEnv reports names that only the host sets.
func reservedEnv(name string) bool {
	return strings.HasPrefix(name, "MCPOOL_") || strings.HasPrefix(name, "PLUGIN_")
}

// pickEnv returns those of env that the patterns name.
func pickEnv(env, patterns []string) []string {
	var out []string
	for _, kv := range env {
		name, _, ok := strings.Cut(kv, "=")
		if !ok || name == "" || reservedEnv(name) {
			continue
		}
		for _, p := range patterns {
			prefix, isPrefix := strings.CutSuffix(p, "*")
			if name == p || isPrefix && strings.HasPrefix(name, prefix) {
				out = append(out, kv)
				break
			}
		}
	}
	return out
}

// setEnv adds name=value unless the name is there.
func setEnv(env []string, name, value string) []string {
	for _, kv := range env {
		if strings.HasPrefix(kv, name+"=") {
			return env
		}
	}
	return append(env, name+"="+value)
}

func hostEnv() []string { return os.Environ() }
