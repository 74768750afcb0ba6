module github.com/go-mcpool/mcpool/examples/bench

go 1.26

require (
	github.com/go-mcpool/mcpool/core v0.0.0
	github.com/jackc/puddle/v2 v2.2.3
	github.com/jolestar/go-commons-pool/v2 v2.1.2
)

require golang.org/x/sync v0.1.0 // indirect

// Nobody installs this module, so it may look next door.
replace github.com/go-mcpool/mcpool/core => ../../core
