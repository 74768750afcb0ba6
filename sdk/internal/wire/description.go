package wire

import (
	"encoding/json"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

// Description is what a plugin says about itself, as "--describe" prints it.
type Description struct {
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	Summary     string            `json:"summary,omitempty"`
	Kinds       []KindDescription `json:"kinds"`
	Environment []string          `json:"environment,omitempty"`
}

// KindDescription is one contract that the plugin fulfils.
type KindDescription struct {
	Name         string   `json:"name"`
	Majors       []uint32 `json:"majors"`
	Capabilities []string `json:"capabilities,omitempty"`
	// Headers are those that the plugin may set: names, "Prefix-*" or "*".
	Headers []string `json:"headers,omitempty"`
	// Config is the JSON Schema of an instance's configuration.
	Config json.RawMessage `json:"config,omitempty"`
}

// DescriptionTo makes the message.
func DescriptionTo(d Description) *basev1.DescribeResponse {
	m := &basev1.DescribeResponse{Name: d.Name, Version: d.Version, Summary: d.Summary, Environment: d.Environment}
	for _, k := range d.Kinds {
		m.Kinds = append(m.Kinds, &basev1.Kind{
			Name: k.Name, Majors: k.Majors, Capabilities: k.Capabilities, Headers: k.Headers, ConfigSchema: string(k.Config),
		})
	}
	return m
}

// DescriptionFrom is the way back, with text fit for people. A schema that is no
// JSON is left out.
func DescriptionFrom(m *basev1.DescribeResponse) Description {
	d := Description{
		Name: Clean(m.GetName(), 128), Version: Clean(m.GetVersion(), 128), Summary: Clean(m.GetSummary(), 512),
		Environment: m.GetEnvironment(),
	}
	for _, k := range m.GetKinds() {
		kd := KindDescription{
			Name: Clean(k.GetName(), 64), Majors: k.GetMajors(), Capabilities: k.GetCapabilities(), Headers: k.GetHeaders(),
		}
		if json.Valid([]byte(k.GetConfigSchema())) {
			kd.Config = json.RawMessage(k.GetConfigSchema())
		}
		d.Kinds = append(d.Kinds, kd)
	}
	return d
}
