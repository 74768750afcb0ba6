module github.com/go-mcpool/mcpool/plugins/probe

go 1.26
