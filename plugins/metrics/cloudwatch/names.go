package poolcloudwatch

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// Name is how a measure is called in CloudWatch.
type Name struct {
	Measure string // of core.Measures or mcpool.Measures
	Name    string
	Unit    types.StandardUnit
}

// Names returns what is sent without Config.All.
func Names() []Name {
	return []Name{
		{"active_sessions", "ActiveSessions", types.StandardUnitCount},
		{"idle_sessions", "IdleSessions", types.StandardUnitCount},
		{"total_sessions", "TotalSessions", types.StandardUnitCount},
		{"borrow", "BorrowCount", types.StandardUnitCount},
		{"return", "ReturnCount", types.StandardUnitCount},
		{"cache_hits", "CacheHits", types.StandardUnitCount},
		{"cache_misses", "CacheMisses", types.StandardUnitCount},
		{"errors", "Errors", types.StandardUnitCount},
		{"retry_attempts", "RetryAttempts", types.StandardUnitCount},
		{"health_check_failures", "HealthCheckFailures", types.StandardUnitCount},
		{"sessions_created", "SessionsCreated", types.StandardUnitCount},
		{"sessions_destroyed", "SessionsDestroyed", types.StandardUnitCount},
		{"recycled", "RecycledCount", types.StandardUnitCount},
		{"avg_borrow_wait_seconds", "AvgBorrowWaitSeconds", types.StandardUnitSeconds},
		{"cache_hit_rate", "CacheHitRate", types.StandardUnitNone},
		{"uptime_seconds", "UptimeSeconds", types.StandardUnitSeconds},
	}
}

// camel is a name that Names does not have: open_failures is OpenFailures.
func camel(s string) string {
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == '_' || c == '.' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// ascii makes text fit for a dimension, which has neither other characters nor
// control characters, is not blank, and no longer than limit.
func ascii(s string, limit int) string {
	s = strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s))
	return s[:min(len(s), limit)]
}
