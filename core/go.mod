module github.com/go-mcpool/mcpool/core

go 1.26

require (
	github.com/google/go-cmp v0.7.0
	github.com/jackc/puddle/v2 v2.2.3
	go.uber.org/goleak v1.3.0
)

require golang.org/x/sync v0.1.0 // indirect
