package oauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// FileStore is a TokenStore in one file, which processes can share. The file is
// only for its owner (0600) and replaced whole, so that it is never seen half
// written. Beside it, in a folder named like it with ".locks", are the files by
// whose locks processes take turns.
//
// What it holds can log in as the people it belongs to. It is not encrypted: keep
// it on a disk that is, or write a TokenStore on the system's keyring.
type FileStore struct {
	// Immutable after creation.
	path string
	lock locker

	locks keyLocks // taken before the lock of a file

	mu     sync.Mutex
	parsed map[Key]fileEntry // guarded by mu; what file was last seen to hold; never written to
	seen   fs.FileInfo       // guarded by mu; of the file when it was parsed, nil if there was none
}

var _ TokenStore = (*FileStore)(nil)

type fileEntry struct {
	Key
	Value   string    `json:"value"`
	Expires time.Time `json:"expires,omitzero"`
}

type fileFormat struct {
	Version int         `json:"version"`
	Entries []fileEntry `json:"entries"`
}

const (
	fileVersion  = 1
	maxFileBytes = 64 << 20
)

// OpenFileStore returns a FileStore on the file at path, which need not exist yet;
// its folder is made if need be. A file that others may read is refused, and so is
// one that is not a token file.
func OpenFileStore(path string) (*FileStore, error) {
	if path == "" {
		return nil, &auth.ConfigError{Field: "path", Problem: "is empty"}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("oauth: token file: %w", err)
	}
	s := &FileStore{path: path, lock: systemLocker}
	if err := os.MkdirAll(s.lockDir(), 0o700); err != nil {
		return nil, fmt.Errorf("oauth: folder for the token file: %w", err)
	}
	if _, err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// Load implements TokenStore.
func (s *FileStore) Load(_ context.Context, key Key) (Entry, error) {
	entries, err := s.look()
	if err != nil {
		return Entry{}, err
	}
	return entries[key].entry(), nil
}

func (e fileEntry) entry() Entry { return Entry{Value: auth.NewSecret(e.Value), Expires: e.Expires} }

// Update implements TokenStore.
func (s *FileStore) Update(ctx context.Context, key Key, change func(Entry) (Entry, error)) error {
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	release, err := s.lock.wait(ctx, filepath.Join(s.lockDir(), stripe(key)))
	if err != nil {
		return err
	}
	defer release()

	// A disk that cannot be written to must show before a refresh token is spent.
	temp, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".new*")
	if err != nil {
		return fmt.Errorf("oauth: token file: %w", err)
	}
	defer func() {
		_ = temp.Close()
		_ = os.Remove(temp.Name()) // it is gone when all went well
	}()

	entries, err := s.read()
	if err != nil {
		return err
	}
	old := entries[key].entry()
	entry, err := change(old)
	if err != nil {
		return err
	}
	if entry.Value.Equal(old.Value) && entry.Expires.Equal(old.Expires) {
		return nil
	}
	return s.write(ctx, temp, key, entry)
}

// String names the file.
func (s *FileStore) String() string { return "token file " + s.path }

// Format writes String for every verb.
func (s *FileStore) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is String.
func (s *FileStore) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON is String, quoted.
func (s *FileStore) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// stripe names the lock of a key. There are 64 rather than one for each identity
// ever seen; keys that share one wait for each other now and then.
func stripe(key Key) string {
	h := sha256.New()
	for _, part := range key.parts() {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return fmt.Sprintf("key-%02d", h.Sum(nil)[0]%64)
}

// write puts the entry into the file as it is now, by way of temp.
func (s *FileStore) write(ctx context.Context, temp *os.File, key Key, entry Entry) error {
	// The change has happened, out there: it must be kept even if ctx ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	release, err := s.lock.wait(ctx, filepath.Join(s.lockDir(), "file"))
	if err != nil {
		return err
	}
	defer release()

	entries, err := s.read()
	if err != nil {
		return err
	}
	entries = maps.Clone(entries)
	now := time.Now()
	maps.DeleteFunc(entries, func(_ Key, e fileEntry) bool { return e.entry().expired(now) })
	if entry.Value.IsEmpty() {
		delete(entries, key)
	} else {
		entries[key] = fileEntry{Key: key, Value: entry.Value.Reveal(), Expires: entry.Expires}
	}
	sorted := slices.SortedFunc(maps.Values(entries), func(a, b fileEntry) int {
		return slices.Compare(a.parts(), b.parts())
	})
	data, err := json.MarshalIndent(fileFormat{Version: fileVersion, Entries: sorted}, "", "\t")
	if err == nil {
		_, err = temp.Write(append(data, '\n'))
	}
	if err == nil {
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = replace(ctx, temp.Name(), s.path)
	}
	if err != nil {
		return fmt.Errorf("oauth: writing the token file: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parsed, s.seen = nil, nil
	return nil
}

// replace renames, insisting where other processes' readers are in the way.
func replace(ctx context.Context, from, to string) error {
	for {
		err := os.Rename(from, to)
		if err == nil || runtime.GOOS != "windows" || !errors.Is(err, fs.ErrPermission) && !strings.Contains(err.Error(), "being used") {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// settled is how old a file must be before it is remembered. Two files can have the
// same inode, size and time stamp if they were written within one tick of the file
// system's clock; a file written after that tick has another time stamp.
const settled = time.Second

// look returns what the file holds, parsing it only if it has changed.
func (s *FileStore) look() (map[Key]fileEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if info, err := os.Stat(s.path); err == nil && s.seen != nil &&
		os.SameFile(s.seen, info) && s.seen.ModTime().Equal(info.ModTime()) && s.seen.Size() == info.Size() {
		return s.parsed, nil
	}
	return s.readLocked()
}

// read returns what the file holds.
func (s *FileStore) read() (map[Key]fileEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readLocked()
}

// readLocked parses the file.
//
// REQUIRES: s.mu
func (s *FileStore) readLocked() (map[Key]fileEntry, error) {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[Key]fileEntry{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("oauth: token file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("oauth: token file: %w", err)
	}
	if mode := info.Mode(); runtime.GOOS != "windows" && mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("oauth: token file %s has mode %v, others can get at it: chmod 600, and log in again if they may have", s.path, mode.Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("oauth: token file: %w", err)
	}
	entries, err := parseFile(data)
	if err != nil {
		return nil, fmt.Errorf("oauth: token file %s %w: move it away and log in again", s.path, err)
	}
	s.parsed, s.seen = nil, nil
	if time.Since(info.ModTime()) > settled {
		s.parsed, s.seen = entries, info
	}
	return entries, nil
}

// parseFile returns errors that complete a sentence and quote nothing.
func parseFile(data []byte) (map[Key]fileEntry, error) {
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("has more than %d bytes", maxFileBytes)
	}
	var file fileFormat
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&file); err != nil {
		return nil, errors.New("is not readable")
	}
	if file.Version != fileVersion {
		return nil, fmt.Errorf("has version %d, not %d", file.Version, fileVersion)
	}
	entries := make(map[Key]fileEntry, len(file.Entries))
	for _, e := range file.Entries {
		entries[e.Key] = e
	}
	return entries, nil
}

func (s *FileStore) lockDir() string { return s.path + ".locks" }
