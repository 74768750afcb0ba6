module github.com/go-mcpool/mcpool/plugins/probe

go 1.26.0

require (
	github.com/go-mcpool/mcpool/sdk v0.0.0
	go.uber.org/goleak v1.3.0
)
