package poolcloudwatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// stateVersion is that of the form of the state file.
const stateVersion = 1

type state struct {
	Version int              `json:"version"`
	Sent    map[string]total `json:"sent"`
}

// errDamaged is of a state file that can be read and not understood.
var errDamaged = errors.New("the state file cannot be understood")

// load reads the state file, and writes it, so that what is wrong with its place is
// known from the beginning. One that is damaged is no reason to send nothing: counting
// begins anew, at the first totals, because what was sent of them nobody knows.
func (s *Sink) load() error {
	if s.cfg.StateFile == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fault := func(what string, err error) error {
		return &metrics.ConfigError{Field: "StateFile", Problem: "cannot be " + what + ": " + err.Error()}
	}
	switch err := s.read(); {
	case err == nil || errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, errDamaged):
		s.cfg.Logger.Warn("counters begin at their next totals", "file", s.cfg.StateFile, "cause", err)
		s.cfg.Resume = true
	default:
		return fault("read", err)
	}
	if err := s.write(); err != nil {
		return fault("written", err)
	}
	return nil
}

// reload reads it again: while a host replaces its plugin, the old process ends its
// export after the new one has begun. A file that is not there, or is damaged,
// says less than what this sink knows, and so does one that it could not write.
// REQUIRES: s.mu.
func (s *Sink) reload() {
	if s.cfg.StateFile != "" && !s.unsaved {
		_ = s.read()
	}
}

// read takes up what the file has. REQUIRES: s.mu.
func (s *Sink) read() error {
	raw, err := os.ReadFile(s.cfg.StateFile)
	if err != nil {
		return err
	}
	var st state
	if err := json.Unmarshal(raw, &st); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if st.Version != stateVersion || st.Sent == nil {
		return fmt.Errorf("%w: it is of version %d, and %d is known here", errDamaged, st.Version, stateVersion)
	}
	s.sent = st.Sent
	return nil
}

// save writes the state file. That it cannot is logged once: the numbers are where they
// belong, and to send them again would be worse. REQUIRES: s.mu.
func (s *Sink) save() {
	if s.cfg.StateFile == "" {
		return
	}
	err := s.write()
	if err != nil && !s.unsaved {
		s.cfg.Logger.Warn("the state file cannot be written: after a crash numbers would be counted twice", "cause", err)
	}
	s.unsaved = err != nil
}

// write replaces the state file in one step, so that a crash leaves the old one or the
// new one. REQUIRES: s.mu.
func (s *Sink) write() error {
	raw, err := json.Marshal(state{stateVersion, s.sent})
	if err != nil {
		return err
	}
	next := s.cfg.StateFile + ".new"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.cfg.StateFile)
}
