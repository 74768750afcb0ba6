package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// trust is what known_hosts says. It is immutable.
type trust struct {
	known       ssh.HostKeyCallback
	authorities map[place]bool // lines that hold the key of an authority
}

// place is a line of a file.
type place struct {
	file string
	line int
}

func readTrust(files []string) (*trust, error) {
	known, err := knownhosts.New(files...)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what it is about
	}
	t := &trust{known: known, authorities: make(map[place]bool)}
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // the config names it
		if err != nil {
			return nil, fmt.Errorf("ssh: %w", err)
		}
		n := 0
		for line := range bytes.Lines(text) {
			n++
			if words := bytes.Fields(line); len(words) > 0 && string(words[0]) == "@cert-authority" {
				t.authorities[place{file, n}] = true
			}
		}
	}
	return t, nil
}

// check is the callback for a handshake. What it says is told from all other reasons
// that a handshake fails for.
func (t *trust) check(address string, remote net.Addr, key ssh.PublicKey) error {
	if err := t.known(address, remote, key); err != nil {
		return &untrustedError{err}
	}
	return nil
}

type untrustedError struct{ err error }

func (e *untrustedError) Error() string { return e.err.Error() }
func (e *untrustedError) Unwrap() error { return e.err }

// algorithms are those that known_hosts has keys of the server for, so that the
// server does not offer another of its keys than the one that is known. It is asked
// for a certificate where there is an authority that may have signed one, and for its
// plain key after that.
func (t *trust) algorithms(address string, remote net.Addr) []string {
	var key *knownhosts.KeyError
	if !errors.As(t.known(address, remote, probeKey{}), &key) {
		return nil
	}
	var signed, plain []string
	for _, want := range key.Want {
		switch kind := want.Key.Type(); {
		case t.authorities[place{want.Filename, want.Line}]:
			signed = []string{
				ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
				ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
			}
		case kind == ssh.KeyAlgoRSA:
			plain = append(plain, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			plain = append(plain, kind)
		}
	}
	return slices.Concat(signed, plain)
}

// probeKey is a key that nobody has: asking for it makes known_hosts say which it
// knows.
type probeKey struct{}

func (probeKey) Type() string                        { return "none" }
func (probeKey) Marshal() []byte                     { return []byte("none") }
func (probeKey) Verify([]byte, *ssh.Signature) error { return errors.New("ssh: no key") }

// refused tells a refusal from trouble of the moment.
func refused(err error) error {
	var (
		key       *knownhosts.KeyError
		revoked   *knownhosts.RevokedError
		untrusted *untrustedError
		disjoint  *ssh.AlgorithmNegotiationError
		denied    *ssh.ServerAuthError
	)
	switch {
	case errors.As(err, &key) && len(key.Want) == 0:
		return &transport.RefusedError{Problem: "the server's key is not in known_hosts", Err: err}
	case errors.As(err, &key), errors.As(err, &revoked):
		return &transport.RefusedError{Problem: "the server's key is not the one in known_hosts: somebody may be listening in", Err: err}
	case errors.As(err, &untrusted):
		return &transport.RefusedError{Problem: "the server's certificate is not one that known_hosts vouches for", Err: err}
	case errors.As(err, &disjoint) && disjoint.What == "host key":
		return &transport.RefusedError{Problem: "the server has no key of a kind that known_hosts has for it: somebody may be listening in", Err: err}
	case errors.As(err, &disjoint):
		return &transport.RefusedError{Problem: "the server and this client have no algorithm in common", Err: err}
	case errors.As(err, &denied), errorsNoMethod(err):
		return &transport.RefusedError{Problem: "the server takes none of the keys for this user"}
	}
	return fmt.Errorf("ssh: the handshake failed: %w", err)
}

// errorsNoMethod recognises the handshake's way of saying that the server took no
// key. It has no type.
func errorsNoMethod(err error) bool { return strings.Contains(err.Error(), "unable to authenticate") }
