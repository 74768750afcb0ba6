//go:build !unix

package sdk

import "time"

const knowsProcessorTime = false

func processorTime() time.Duration { return 0 }
