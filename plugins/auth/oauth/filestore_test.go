package oauth

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// childEnv makes the test binary run a child's part instead of the tests. Its value
// is the token file; the issuer is in childIssuer.
const (
	childEnv    = "MCPOOL_OAUTH_TEST_CHILD"
	childIssuer = "MCPOOL_OAUTH_TEST_ISSUER"
)

// child asks for credentials until its standard input ends, and prints a line for
// each new token.
func child(path string) int {
	store, err := OpenFileStore(path)
	if err == nil {
		err = childLoop(store)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func childLoop(store TokenStore) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	issuer := os.Getenv(childIssuer)
	p, err := New(Config{Issuer: issuer, Client: Client{ID: "app"}, Store: store})
	if err != nil {
		return err
	}
	defer p.Close(context.Background())
	last := ""
	for ctx.Err() == nil {
		c, err := p.Credentials(context.Background(), requestFor("alice", fakeResource))
		if err != nil {
			return err
		}
		if c.Generation != last {
			last = c.Generation
			fmt.Println(last)
		}
		_ = pause(ctx, time.Millisecond)
	}
	return nil
}

func TestProcessesThatShareATokenFileSpendEachRefreshTokenOnce(t *testing.T) {
	t.Parallel()
	as := newFakeAS()
	as.lifetime = time.Second
	as.refresh = "refresh-token-000000-0123456789"
	var issuer string
	server := httptest.NewServer(as)
	t.Cleanup(server.Close)
	issuer = server.URL
	host := server.Listener.Addr().String()
	as.handlers[host+"/.well-known/oauth-authorization-server"] = document(map[string]any{
		"issuer": issuer, "token_endpoint": issuer + "/token",
	})
	as.handlers[host+"/token"] = as.tokenHandler()

	path := filepath.Join(t.TempDir(), "tokens.json")
	store, err := OpenFileStore(path)
	if err != nil {
		t.Fatal(err)
	}
	seed(t, store, Key{Issuer: issuer, Client: "app", Resource: fakeResource, Identity: "alice", Grant: "login"}, record{Refresh: as.refresh, Generation: "g"})

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const children = 3
	var wg sync.WaitGroup
	outs := make([]bytes.Buffer, children)
	for i := range children {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), childEnv+"="+path, childIssuer+"="+issuer)
		cmd.Stdout = &outs[i]
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("child %d: %v\n%s", i, err, &stderr)
			}
		})
		t.Cleanup(func() { stdin.Close(); wg.Wait() })
		defer stdin.Close()
	}
	waitFor(t, func() bool { return as.tokenRequests() >= 8 || t.Failed() })
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.reused > 0 {
		t.Errorf("%d refresh tokens were used twice", as.reused)
	}
}

func TestAFileStoreIsUnreadableForOthersAndNeverHalfWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "deep", "tokens.json")
	store, err := OpenFileStore(path)
	if err != nil {
		t.Fatal(err)
	}
	key := Key{Issuer: "i", Identity: "alice"}
	put := func(value string, expires time.Time) {
		t.Helper()
		err := store.Update(t.Context(), key, func(Entry) (Entry, error) { return Entry{Value: secretOf(value), Expires: expires}, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	put("one", time.Time{})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v, want mode 0600", info.Mode(), err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "deep", "*.new*"))
	if len(names) > 0 {
		t.Errorf("left behind: %q", names)
	}
	mustNotLeak(t, "the store", store, "one")

	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFileStore(path); err == nil {
		t.Error("a file that others can read was accepted")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}

	put("two", time.Now().Add(-time.Second)) // expired as it is written: the next write drops it
	key.Identity = "bob"
	put("three", time.Time{})
	reopened, err := OpenFileStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := reopened.Load(t.Context(), key); e.Value.Reveal() != "three" {
		t.Error("what was written is not there")
	}
	if e, _ := reopened.Load(t.Context(), Key{Issuer: "i", Identity: "alice"}); !e.Value.IsEmpty() {
		t.Error("an expired entry was kept")
	}

	for _, junk := range []string{"", "{", `{"version":2}`, `[]`} {
		if err := os.WriteFile(path, []byte(junk), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFileStore(path); err == nil {
			t.Errorf("a file with %q was accepted", junk)
		}
		if err := reopened.Update(t.Context(), key, func(Entry) (Entry, error) { return Entry{Value: secretOf("x")}, nil }); err == nil {
			t.Errorf("a file with %q was overwritten", junk)
		}
	}
}

func TestADiskThatCannotBeWrittenToIsNoticedBeforeTheRefreshTokenIsSpent(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root may write anywhere")
	}
	dir := filepath.Join(t.TempDir(), "tokens")
	store, err := OpenFileStore(filepath.Join(dir, "tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	keep := func(Entry) (Entry, error) { return Entry{Value: secretOf("x")}, nil }
	if err := store.Update(t.Context(), Key{}, keep); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	err = store.Update(t.Context(), Key{}, func(Entry) (Entry, error) {
		t.Error("the change was made")
		return Entry{}, nil
	})
	if err == nil {
		t.Error("no error")
	}
}

func TestAStoreHasOneUpdateOfAKeyAtATimeConcurrentSafe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func(name string, lock locker) TokenStore {
		s, err := OpenFileStore(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		s.lock = lock
		return s
	}
	for name, stores := range map[string][]TokenStore{
		"memory":    {NewMemoryStore()},
		"flock":     {open("flock", systemLocker), open("flock", systemLocker)},
		"lock file": {open("file", lockByExistence), open("file", lockByExistence)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := Key{Issuer: name}
			var wg sync.WaitGroup
			inside := make(chan struct{}, 1)
			const each = 10
			for i := range 4 {
				store := stores[i%len(stores)]
				wg.Go(func() {
					for range each {
						err := store.Update(t.Context(), key, func(old Entry) (Entry, error) {
							select {
							case inside <- struct{}{}:
							default:
								t.Error("two at a time")
							}
							defer func() { <-inside }()
							return Entry{Value: secretOf(old.Value.Reveal() + "x")}, nil
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if e, err := stores[0].Load(t.Context(), key); err != nil || len(e.Value.Reveal()) != 4*each {
				t.Errorf("%d updates were kept, want %d (%v)", len(e.Value.Reveal()), 4*each, err)
			}
		})
	}
}

func TestWaitingForAStoreEndsWithTheContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")
	holder, err := OpenFileStore(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := OpenFileStore(path)
	if err != nil {
		t.Fatal(err)
	}
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		holder.Update(context.Background(), Key{}, func(Entry) (Entry, error) {
			close(held)
			<-release
			return Entry{}, nil
		})
	})
	<-held
	for _, store := range []*FileStore{holder, other} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := store.Update(ctx, Key{}, func(old Entry) (Entry, error) { return old, nil }); err == nil {
			t.Error("it did not wait")
		}
	}
	close(release)
	wg.Wait()
}

func TestALockFileThatWasLeftBehindIsRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	release, ok, err := lockByExistence(path)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, ok, _ := lockByExistence(path); ok {
		t.Fatal("two have the lock")
	}
	release()
	for _, left := range []string{path + ".lock", path + ".lock.removing"} {
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-2 * lockStale)
		if err := os.Chtimes(left, old, old); err != nil {
			t.Fatal(err)
		}
	}
	release, err = locker(lockByExistence).wait(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestAFileThatSettledIsParsedOnceAndAChangedOneAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")
	open := func() *FileStore {
		s, err := OpenFileStore(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	put := func(s *FileStore, value string) {
		if err := s.Update(t.Context(), Key{}, func(Entry) (Entry, error) { return Entry{Value: secretOf(value)}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	get := func(s *FileStore) string {
		e, err := s.Load(t.Context(), Key{})
		if err != nil {
			t.Fatal(err)
		}
		return e.Value.Reveal()
	}
	one, two := open(), open()
	for i := range 50 { // within the ticks of the file system's clock, and of one size
		value := fmt.Sprintf("%02d", i)
		put([]*FileStore{one, two}[i%2], value)
		if a, b := get(one), get(two); a != value || b != value {
			t.Fatalf("read %q and %q, want %q", a, b, value)
		}
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	get(one)
	if one.seen == nil {
		t.Error("a file that does not change is parsed for each call")
	}
	put(two, "changed")
	if got := get(one); got != "changed" {
		t.Errorf("read %q", got)
	}
}
