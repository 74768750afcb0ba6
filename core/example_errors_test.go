package core_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// New tells of everything that is wrong with a Config.
func ExampleConfig() {
	_, err := core.New(core.Config[*session]{Min: 5, Max: 2, OpenTimeout: -time.Second})
	fmt.Println(err)
	// Output:
	// core: Config.Open is required: give the function that makes one resource
	// core: Config.OpenTimeout = -1s is negative: use 0 for the default or -1 for off
	// core: Config.Min = 5 is more than Max (2): lower Min or raise Max
}

// An ExhaustedError says what the pool was doing while the caller waited.
func ExampleExhaustedError() {
	ctx := context.Background()
	pool, err := core.New(core.Config[*session]{Open: opener(), Max: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)
	lease, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release()

	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err = pool.Acquire(short)
	fmt.Println(errors.Is(err, core.ErrExhausted))
	if e, ok := errors.AsType[*core.ExhaustedError](err); ok {
		fmt.Printf("%d of %d resources leased, the deadline ended it: %v\n", e.Leased, e.Max, errors.Is(e, context.DeadlineExceeded))
	}
	// Output:
	// true
	// 1 of 1 resources leased, the deadline ended it: true
}
