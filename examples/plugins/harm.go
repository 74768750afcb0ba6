package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-mcpool/mcpool/examples/internal/pluginbuild"
	"github.com/go-mcpool/mcpool/sdk/host"
)

func (d *demo) killSigV4(ctx context.Context) (string, error) {
	return d.kill(ctx, &d.sigv4, d.sigv4.calls.everyone)
}

func (d *demo) killOAuth(ctx context.Context) (string, error) {
	return d.kill(ctx, &d.oauth, d.askedAgain)
}

// kill kills a plugin again and again. used waits until callers have used the new one.
func (d *demo) kill(ctx context.Context, s *side, used func(context.Context) error) (string, error) {
	before := s.calls.counts()
	var slowest time.Duration
	for range d.kills {
		began := time.Now()
		if err := s.end(ctx, os.Kill); err != nil {
			return "", err
		}
		d.Kills++
		slowest = max(slowest, time.Since(began))
		if err := used(ctx); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d times; started again within %v; %s", d.kills, slowest.Round(time.Millisecond), s.since(before)), s.calls.check()
}

// end sends the signal to the process, and waits for another one.
func (s *side) end(ctx context.Context, sig os.Signal) error {
	pid := s.plugin.Stats().PID
	p, err := os.FindProcess(pid)
	if err != nil || pid == 0 {
		return fmt.Errorf("the plugin has no process: %w", err)
	}
	if err := p.Signal(sig); err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	if err := until(ctx, "the plugin to be started again", func() bool {
		now := s.plugin.Stats().PID
		return now != 0 && now != pid
	}); err != nil {
		return err
	}
	s.pids = append(s.pids, s.plugin.Stats().PID)
	return nil
}

// since says what happened meanwhile.
func (s *side) since(before counts) string {
	now := s.calls.counts()
	return fmt.Sprintf("%d calls meanwhile, %d failed", now.Calls-before.Calls, now.Failed-before.Failed)
}

// stopBoth leaves it to the host to find out that nobody answers.
func (d *demo) stopBoth(ctx context.Context) (string, error) {
	if stopSignal() == nil {
		return "left out: this system has no SIGSTOP", nil
	}
	before := [2]counts{d.sigv4.calls.counts(), d.oauth.calls.counts()}
	began := time.Now()
	noticed := make(chan error, 2)
	for _, s := range []*side{&d.sigv4, &d.oauth} {
		d.Stops++
		go func() { noticed <- s.end(ctx, stopSignal()) }()
	}
	err := errors.Join(<-noticed, <-noticed)
	took := time.Since(began)
	if err == nil {
		err = errors.Join(d.sigv4.calls.everyone(ctx), d.askedAgain(ctx))
	}
	return fmt.Sprintf("noticed, and started again within %.1f s; SigV4 %s, OAuth %s", took.Seconds(),
		d.sigv4.since(before[0]), d.oauth.since(before[1])), errors.Join(err, d.sigv4.calls.check(), d.oauth.calls.check())
}

// next is what Replace is given for a build.
func (d *demo) next(b pluginbuild.Binary) host.Plugin {
	return host.Plugin{Path: b.Path, SHA256: b.SHA256, Env: host.EnvAWS(), Limits: limits(), Logger: d.logger()}
}

// refuse tries a binary that somebody appended something to.
func (d *demo) refuse(ctx context.Context) (string, error) {
	data, err := os.ReadFile(d.newer.Path)
	if err != nil {
		return "", err
	}
	forged := pluginbuild.Binary{Path: filepath.Join(d.dir, "forged"), SHA256: d.newer.SHA256}
	if err := os.WriteFile(forged.Path, append(data, "something"...), 0o500); err != nil { //nolint:gosec // a program
		return "", err
	}
	before, pid := d.sigv4.calls.counts(), d.sigv4.plugin.Stats().PID
	refusal, ok := errors.AsType[*host.LaunchError](d.sigv4.plugin.Replace(ctx, d.next(forged)))
	if err := d.sigv4.calls.everyone(ctx); err != nil {
		return "", err
	}
	d.Refused = ok && d.sigv4.plugin.Stats().PID == pid
	if !d.Refused {
		return "", errors.New("it runs")
	}
	return fmt.Sprintf("refused, it %s; %s", refusal.Reason, d.sigv4.since(before)), d.sigv4.calls.check()
}

func (d *demo) replace(ctx context.Context) (string, error) {
	before := d.sigv4.calls.counts()
	if err := d.sigv4.plugin.Replace(ctx, d.next(d.newer)); err != nil {
		return "", err
	}
	now := d.sigv4.plugin.Stats()
	d.sigv4.pids = append(d.sigv4.pids, now.PID)
	d.Replaced = now.SHA256 == d.newer.SHA256
	if !d.Replaced {
		return "", fmt.Errorf("%.8s runs", now.SHA256)
	}
	if err := d.sigv4.calls.everyone(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%.8s runs; %s", now.SHA256, d.sigv4.since(before)), d.sigv4.calls.check()
}
