// Command hello is the example of the README.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/go-mcpool/mcpool/core"
)

func main() {
	ctx := context.Background()
	pool, err := core.New(core.Config[net.Conn]{
		Open: func(ctx context.Context) (net.Conn, error) {
			// Yours may be new(net.Dialer).DialContext(ctx, "tcp", "db:5432").
			conn, echo := net.Pipe()
			go func() { _, _ = io.Copy(echo, echo) }()
			return conn, nil
		},
		Max: 10,
	})
	if err != nil {
		log.Fatal(err) // every wrong field at once
	}
	defer func() { _ = pool.Close(ctx) }()

	for _, word := range []string{"hello", "again"} {
		lease, err := pool.Acquire(ctx)
		if err != nil {
			log.Fatal(err)
		}
		answer := make([]byte, len(word))
		fmt.Fprint(lease.Value(), word)
		if _, err := io.ReadFull(lease.Value(), answer); err != nil {
			lease.Discard(err) // closed, and never lent again
			log.Fatal(err)
		}
		lease.Release()
		fmt.Printf("%s: %d opened\n", answer, pool.Stats().Opened)
	}
}
