package bearer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// fileStamp tells versions of a file apart.
type fileStamp struct {
	info os.FileInfo // of the file that the path led to; nil before the first read
	read time.Time
}

// racyWindow: a file may change twice within the granularity of its modification
// time. One that changed this shortly before it was read is read again.
const racyWindow = 2 * time.Second

func (s fileStamp) same(info os.FileInfo) bool {
	return s.info != nil && os.SameFile(s.info, info) && s.info.Size() == info.Size() &&
		s.info.ModTime().Equal(info.ModTime()) && s.read.Sub(info.ModTime()) > racyWindow
}

// fromFile returns what the file holds, reading it only if it changed. The stamp is
// taken from the open file, so that it is that of what was read whatever happens to
// the path meanwhile.
func (p *Provider) fromFile() (auth.Secret, int, error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	if info, err := os.Stat(p.cfg.File); err == nil && p.stamp.same(info) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.last, p.generation, nil
	}
	now := time.Now()
	data, info, err := readFile(p.cfg.File)
	if err != nil {
		return auth.Secret{}, 0, err
	}
	token := trim(data)
	if err := checkToken(token); err != nil {
		return auth.Secret{}, 0, fmt.Errorf("%s: the token %w", p.cfg.File, err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 && !p.warned {
		p.warned = true
		p.cfg.Warn(fmt.Sprintf("%s can be read by others (mode %04o): chmod 600 it", p.cfg.File, info.Mode().Perm()))
	}
	p.stamp = fileStamp{info: info, read: now}
	secret := auth.NewSecret(token)
	return secret, p.see(secret), nil
}

// readFile reads a regular file of a bounded size.
func readFile(path string) ([]byte, os.FileInfo, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New(path + " is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxToken {
		return nil, nil, fmt.Errorf("%s is larger than %d bytes", path, maxToken)
	}
	return data, info, nil
}
