package host

import _ "embed"

//go:embed config.schema.json
var configSchema string

// ConfigSchema returns the JSON Schema (2020-12) of configuration files, which is
// published as config.schema.json beside the sources of this package.
func ConfigSchema() []byte { return []byte(configSchema) }
