package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"runtime"
)

// sqlPool is the pool inside database/sql, over a driver that does nothing.
type sqlPool struct{ db *sql.DB }

var _ counter = sqlPool{}

func openSQL(size int) (peer, error) {
	db := sql.OpenDB(fakeConnector{})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return sqlPool{db}, nil
}

func (p sqlPool) cycle(ctx context.Context, n int, yield bool) error {
	for range n {
		c, err := p.db.Conn(ctx)
		if err != nil {
			return err
		}
		if yield {
			runtime.Gosched()
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (p sqlPool) hold(ctx context.Context, k int) (func(), error) {
	return holdEach(k, func() (func(), error) {
		c, err := p.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		return func() { _ = c.Close() }, nil
	})
}

func (p sqlPool) stats(n int) (live, leased int) {
	for range n {
		s := p.db.Stats()
		live, leased = s.OpenConnections, s.InUse
	}
	return live, leased
}

func (p sqlPool) close() error { return p.db.Close() }

type fakeConnector struct{}

func (fakeConnector) Connect(context.Context) (driver.Conn, error) { return &fakeConn{}, nil }
func (fakeConnector) Driver() driver.Driver                        { return fakeDriver{} }

type fakeDriver struct{}

func (fakeDriver) Open(string) (driver.Conn, error) { return &fakeConn{}, nil }

type fakeConn struct{ conn }

var errNoSQL = errors.New("this driver speaks no SQL")

func (*fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errNoSQL }
func (*fakeConn) Begin() (driver.Tx, error)           { return nil, errNoSQL }
