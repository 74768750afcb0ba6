package bearer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-mcpool/mcpool/plugins/auth/bearer"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// A token in a file is replaced, and the next call sends the new one.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "bearer")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "token")
	os.WriteFile(file, []byte("first\n"), 0o600)

	provider, err := bearer.New(bearer.Config{File: file})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer provider.Close(context.Background())

	show := func() {
		creds, err := provider.Credentials(context.Background(), auth.Request{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(creds.Header.Get("Authorization"))
	}
	show()
	os.WriteFile(file+".new", []byte("second\n"), 0o600)
	os.Rename(file+".new", file)
	show()
	// Output:
	// Bearer first
	// Bearer second
}
