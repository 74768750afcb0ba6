package main

import (
	"context"
	"fmt"
	"os"

	"github.com/go-mcpool/mcpool/examples/internal/pluginbuild"
)

func (d *demo) build(ctx context.Context) (string, error) {
	var err error
	if d.dir, err = os.MkdirTemp("", "mcpool-plugins-"); err != nil {
		return "", err
	}
	for _, b := range []struct {
		into        *pluginbuild.Binary
		main, stamp string
	}{
		{&d.signer, "auth/sigv4/cmd/mcpool-auth-sigv4", "one"},
		{&d.newer, "auth/sigv4/cmd/mcpool-auth-sigv4", "two"},
		{&d.tokens, "auth/oauth/cmd/mcpool-auth-oauth", "one"},
	} {
		if *b.into, err = pluginbuild.Build(ctx, d.dir, b.main, b.stamp); err != nil {
			return "", err
		}
	}
	if d.signer.SHA256 == d.newer.SHA256 {
		return "", fmt.Errorf("two builds of SigV4 have the checksum %s", d.signer.SHA256)
	}
	return fmt.Sprintf("SigV4 %.8s and %.8s, OAuth %.8s", d.signer.SHA256, d.newer.SHA256, d.tokens.SHA256), nil
}
