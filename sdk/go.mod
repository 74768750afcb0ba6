module github.com/go-mcpool/mcpool/sdk

go 1.26

require go.uber.org/goleak v1.3.0
