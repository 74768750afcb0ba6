package wire

import (
	"strings"

	probev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/probe/v1"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// MaxCalls is how many calls of one probe may be without a result. A plugin waits
// before it makes another, and a host answers those beyond with a failure.
const MaxCalls = 16

// TargetTo makes the message. Text that is no UTF-8 is mended.
func TargetTo(d probe.Description) *probev1.Target {
	m := &probev1.Target{Kind: text(d.Kind), Pool: text(d.Pool), Id: text(d.ID)}
	for _, method := range d.Methods {
		m.Methods = append(m.Methods, text(method))
	}
	for k, v := range d.Attrs {
		if m.Attrs == nil {
			m.Attrs = make(map[string]string, len(d.Attrs))
		}
		m.Attrs[text(k)] = text(v)
	}
	return m
}

// TargetFrom is the way back.
func TargetFrom(m *probev1.Target) probe.Description {
	return probe.Description{
		Kind: m.GetKind(), Pool: m.GetPool(), ID: m.GetId(), Methods: m.GetMethods(), Attrs: m.GetAttrs(),
	}
}

// VerdictTo makes the message.
func VerdictTo(v probe.Verdict) *probev1.Verdict {
	m := &probev1.Verdict{Reason: oneLine(v.Reason)}
	switch v.Status {
	case probe.Healthy:
		m.Status = probev1.Status_STATUS_HEALTHY
	case probe.Degraded:
		m.Status = probev1.Status_STATUS_DEGRADED
	case probe.Unhealthy:
		m.Status = probev1.Status_STATUS_UNHEALTHY
	default:
	}
	return m
}

// VerdictFrom is the way back. What is not known says nothing.
func VerdictFrom(m *probev1.Verdict) probe.Verdict {
	v := probe.Verdict{Reason: oneLine(m.GetReason())}
	switch m.GetStatus() {
	case probev1.Status_STATUS_HEALTHY:
		v.Status = probe.Healthy
	case probev1.Status_STATUS_DEGRADED:
		v.Status = probe.Degraded
	case probev1.Status_STATUS_UNHEALTHY:
		v.Status = probe.Unhealthy
	default:
	}
	return v
}

func oneLine(s string) string { return strings.ReplaceAll(Clean(s, 1<<10), "\n", " ") }
