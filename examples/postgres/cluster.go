package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// errNoPostgres says that there is no PostgreSQL server to start.
var errNoPostgres = errors.New("no PostgreSQL server found: install one (Debian: apt-get install postgresql), " +
	"or put initdb and postgres into PATH")

// cluster is a PostgreSQL server of our own, in a temporary directory.
type cluster struct {
	dir, bin string
	port     int
	server   *exec.Cmd
	exited   chan error
}

// newCluster makes a data directory. Run stop and then remove when done.
func newCluster() (*cluster, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mcpool-postgres-")
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir, bin: bin}
	if err := c.init(); err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

func (c *cluster) init() error {
	if err := giveAway(c.dir); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.port = l.Addr().(*net.TCPAddr).Port //nolint:errcheck // of a TCP listener
	_ = l.Close()
	cmd := exec.Command(filepath.Join(c.bin, "initdb"), "-D", c.data(), "-U", "demo", "-A", "trust", "-N", "-E", "UTF8", "--locale=C") //nolint:gosec,noctx // the server's own; it ends by itself
	cmd.Dir = c.dir
	dropPrivileges(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// url is what to connect to.
func (c *cluster) url() string {
	return fmt.Sprintf("postgres://demo@127.0.0.1:%d/postgres?sslmode=disable", c.port)
}

// start runs the server and waits until it answers.
func (c *cluster) start(ctx context.Context) error {
	c.server = exec.Command(filepath.Join(c.bin, "postgres"), "-D", c.data(), "-k", c.dir, "-F", //nolint:gosec,noctx // the server; stop ends it
		"-h", "127.0.0.1", "-p", fmt.Sprint(c.port), "-c", "max_connections=50", "-c", "log_min_messages=panic")
	c.server.Dir = c.dir
	dropPrivileges(c.server)
	if err := c.server.Start(); err != nil {
		return err
	}
	c.exited = make(chan error, 1)
	go func(cmd *exec.Cmd, exited chan error) { exited <- cmd.Wait() }(c.server, c.exited)
	for {
		conn, err := pgx.Connect(ctx, c.url())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case err := <-c.exited:
			return fmt.Errorf("postgres did not start: %w", err)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server in the given way: os.Interrupt is PostgreSQL's fast
// shutdown, os.Kill a crash.
func (c *cluster) stop(how os.Signal) {
	if c.server == nil {
		return
	}
	_ = c.server.Process.Signal(how)
	<-c.exited //nolint:errcheck // it was told to
	c.server = nil
}

func (c *cluster) remove() { _ = os.RemoveAll(c.dir) }

// findPostgres returns the directory of the newest server's programs.
func findPostgres() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errNoPostgres
	}
	slices.SortFunc(found, func(a, b string) int { // "9" before "15"
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return filepath.Dir(found[len(found)-1]), nil
}
