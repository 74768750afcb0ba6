package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// image is a verified copy of a binary that nobody can change.
type image struct {
	file   *os.File // a sealed memory file that the child inherits, or nil
	path   string   // what to execute where there is none
	digest string
}

// maxImage bounds a binary, so that a path to something endless is refused.
const maxImage = 1 << 30

func (i *image) close() {
	if i.file != nil {
		_ = i.file.Close()
	}
}

// newImage copies the binary, hashing the bytes on their way, so that what is
// compared is what runs.
func newImage(p *Plugin, dir string) (*image, error) {
	refuse := func(reason, remedy string, err error) error {
		return &LaunchError{Path: p.Path, Reason: reason, Remedy: remedy, Err: err}
	}
	src, err := openFile(p.Path)
	if errors.Is(err, errNoFile) {
		return nil, refuse(err.Error(), "Give the path of the binary itself.", nil)
	}
	if err != nil {
		return nil, refuse("cannot be opened", "Check the path and its permissions.", err)
	}
	defer func() { _ = src.Close() }()
	info, err := src.Stat()
	switch {
	case err != nil:
		return nil, refuse("cannot be looked at", "Check the path and its permissions.", err)
	case info.Size() > maxImage:
		return nil, refuse("is larger than 1 GiB", "Is it the binary?", nil)
	}
	if problem := writableByOthers(p.Path, info); problem != "" {
		return nil, refuse(problem, "Take that permission away (chmod go-w) and check who had it.", nil)
	}
	if err := checkPlatform(src); err != nil {
		return nil, refuse(err.Error(), "Install the build for this platform.", nil)
	}
	h := newHasher()
	img, err := copyImage(io.TeeReader(io.LimitReader(src, maxImage), h), dir)
	sum := h.sum()
	if err != nil {
		return nil, refuse("cannot be copied to a safe place", "Is there memory for it, or room in "+dir+"?", err)
	}
	img.digest = hex.EncodeToString(sum)
	if p.SHA256 != "" && !strings.EqualFold(img.digest, p.SHA256) {
		img.close()
		return nil, refuse(fmt.Sprintf("has the SHA-256 %s, not %s", img.digest, strings.ToLower(p.SHA256)),
			"If the file was updated on purpose, update the digest; otherwise somebody changed it.", nil)
	}
	return img, nil
}

// copyToFile makes the copy where memory files do not exist, or may not be executed.
//
// A child that is forked meanwhile, for another plugin perhaps, would have the file open
// for writing until it executes something itself, and nobody can execute a file that is
// open for writing: the lock keeps forks away until it is closed.
func copyToFile(r io.Reader, dir string) (*image, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.CreateTemp(dir, "image-*"+exeSuffix)
	if err != nil {
		return nil, err
	}
	err = copyTo(f, r)
	if err == nil {
		err = f.Chmod(0o500)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return &image{path: f.Name()}, nil
}

const (
	imagePart    = 256 << 10 // bytes that are copied at a time
	hashedBehind = 4         // how many of those the hash may lag behind
)

// copyTo is io.Copy in pieces that are worth handing to a hasher.
func copyTo(f *os.File, r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, make([]byte, imagePart))
	return err
}

// hasher takes the SHA-256 of what is written to it, while the writer goes on: hashing
// a binary takes longer than copying it, and longer than all else in a start.
type hasher struct {
	free, full chan []byte
	result     chan []byte
}

func newHasher() *hasher {
	h := &hasher{
		free: make(chan []byte, hashedBehind), full: make(chan []byte, hashedBehind), result: make(chan []byte, 1),
	}
	for range hashedBehind {
		h.free <- nil
	}
	go func() {
		sum := sha256.New()
		for part := range h.full {
			sum.Write(part)
			h.free <- part
		}
		h.result <- sum.Sum(nil)
	}()
	return h
}

func (h *hasher) Write(p []byte) (int, error) {
	h.full <- append((<-h.free)[:0], p...)
	return len(p), nil
}

// sum is the digest. Nothing can be written afterwards.
func (h *hasher) sum() []byte {
	close(h.full)
	return <-h.result
}
