package plugintest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// grabbed is what acme-grabs gives to the SDK for a lifeline.
var grabbed *os.File

// play is the plugin that the program's name names, and reports whether it names one:
// "acme", "tube", "eye" or "vat", or one of them with a dash and the flaw of the program.
func play(name string) bool {
	name = filepath.Base(name)
	if flaw, ok := strings.CutPrefix(name, "vat"); ok {
		return playVat(flaw)
	}
	if flaw, ok := strings.CutPrefix(name, "tube"); ok {
		return playTubes(flaw)
	}
	if flaw, ok := strings.CutPrefix(name, "eye"); ok {
		return playEye(flaw)
	}
	flaw, ok := strings.CutPrefix(name, "acme")
	if !ok {
		return false
	}
	info := sdk.Info{Name: "acme", Version: "1.0.0"}
	factory, hosted := newAcme, os.Getenv(wire.CookieKey) != ""
	switch flaw {
	case "", "-": // it has none
	case "-prints":
		fmt.Println("welcome to acme")
	case "-changes":
		info.Version = fmt.Sprint(time.Now().UnixNano())
	case "-two-faced":
		if hosted {
			info.Version = "2.0.0"
		}
	case "-idle":
		if !hosted && len(os.Args) == 1 {
			os.Exit(0)
		}
	case "-hangs":
		if !hosted && len(os.Args) == 1 {
			time.Sleep(time.Hour)
		}
	case "-mortal":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		go func() { <-c; os.Exit(1) }()
	case "-outlives":
		os.Unsetenv(wire.EnvLifeline)
	case "-litters":
		os.Unsetenv(wire.EnvRunDir)
	case "-grabs": // whatever its host says
		if hosted {
			lifeline := os.NewFile(3, "lifeline")
			r, w, err := os.Pipe()
			if err != nil {
				panic(err)
			}
			go func() {
				_, _ = io.Copy(io.Discard, lifeline)
				_ = wire.RemoveRunDir(os.Getenv(wire.EnvRunDir))
				_ = w.Close()
			}()
			os.Setenv(wire.EnvLifeline, fmt.Sprint(r.Fd()))
			grabbed = r // who collects it closes it
		}
	case "-talks":
		factory = talking
	case "-lonely":
		factory = lonely
	case "-fragile":
		factory = fragile
	case "-forgets":
		factory = forgetful
	case "-anonymous":
		factory = anonymous
	default:
		return false
	}
	sdk.Main(info, sdk.Auth(factory, sdk.Signs(), sdk.LogsIn(), sdk.Observes()))
	return true
}

// talking logs its key.
func talking(ctx context.Context, cfg acmeConfig) (auth.Provider, error) {
	slog.Info("opening", "key", cfg.Key.Reveal())
	return newAcme(ctx, cfg)
}

var opened atomic.Int64

// lonely has one instance at most.
func lonely(ctx context.Context, cfg acmeConfig) (auth.Provider, error) {
	if opened.Add(1) > 1 {
		return nil, errors.New("one is enough")
	}
	return newAcme(ctx, cfg)
}

// forgetful refuses in the second process of an instance what the first was given.
func forgetful(ctx context.Context, cfg acmeConfig) (auth.Provider, error) {
	if in, ok := sdk.InstanceOf(ctx); ok {
		mark := filepath.Join(in.StateDir, "mark")
		if _, err := os.Stat(mark); err == nil {
			return nil, errors.New("I have seen this one")
		}
		if err := os.WriteFile(mark, nil, 0o600); err != nil {
			return nil, err
		}
	}
	return newAcme(ctx, cfg)
}

// anonymous does not say which field is wrong.
func anonymous(ctx context.Context, cfg acmeConfig) (auth.Provider, error) {
	p, err := newAcme(ctx, cfg)
	if err != nil {
		return nil, errors.New("bad configuration")
	}
	return p, nil
}

// fragile dies of a challenge that is large.
func fragile(context.Context, acmeConfig) (auth.Provider, error) { return brittle{}, nil }

type brittle struct{ least }

func (brittle) Challenge(_ context.Context, _ auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	if len(ch.Header.Get("WWW-Authenticate")) > 1<<16 {
		os.Exit(3)
	}
	return auth.GiveUp, nil
}
