module github.com/go-mcpool/mcpool/plugins/transport

go 1.26
