module github.com/go-mcpool/mcpool/plugins/metrics

go 1.26
