package sigv4

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

const (
	tolerance = 4 * time.Minute // AWS refuses from five on
	codedSkew = time.Second     // what is believed when the answer says it is the clock
	maxSkew   = 24 * time.Hour  // beyond, somebody else's clock is wrong, or lying
	maxClocks = 1000
	amzDate   = "20060102T150405Z"
)

// Challenge learns the target's clock, or drops keys that have expired.
func (p *Provider) Challenge(ctx context.Context, req auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	held, err := p.keys.Credentials(ctx, p.keyRequest(req))
	if err != nil {
		return auth.GiveUp, fmt.Errorf("sigv4: %w", err)
	}
	if ch.Generation != "" && ch.Generation != p.generation(held.Generation, req.Target) {
		return auth.Retry, nil // somebody else has learned it meanwhile
	}
	said := string(ch.Body) + " " + ch.Header.Get("X-Amzn-Errortype")
	switch {
	case mentions(said, "ExpiredToken", "token included in the request is expired"):
		outcome, err := p.keys.Challenge(ctx, p.keyRequest(req), auth.Challenge{Generation: held.Generation, Status: ch.Status})
		if err != nil {
			err = fmt.Errorf("sigv4: %w", err)
		}
		return outcome, err
	case p.learnClock(req.Target, ch, mentions(said, "RequestTimeTooSkewed", "RequestExpired",
		"RequestInTheFuture", "Signature expired", "Signature not yet current")):
		return auth.Retry, nil
	}
	return auth.GiveUp, nil
}

// learnClock compares the answer's Date with the date that was signed, and reports
// whether the difference explains the refusal.
func (p *Provider) learnClock(target auth.Target, ch auth.Challenge, coded bool) bool {
	theirs, err := http.ParseTime(ch.Header.Get("Date"))
	if err != nil {
		return false
	}
	signed, err := time.Parse(amzDate, ch.Sent.Header.Get("X-Amz-Date"))
	if err != nil || ch.SentAt.IsZero() {
		return false
	}
	wrong := theirs.Sub(signed).Abs()
	if wrong < tolerance && (!coded || wrong < codedSkew) {
		return false
	}
	offset := theirs.Sub(ch.SentAt.Round(0))
	if offset.Abs() > maxSkew {
		return false
	}
	p.clocks.set(target.URL, offset)
	return true
}

// clocks remembers how far the clocks of targets are from ours.
type clocks struct {
	mu      sync.RWMutex
	offsets map[string]clock // guarded by mu; by URL
	learned int              // guarded by mu
}

type clock struct {
	offset  time.Duration
	version string
}

// read returns the offset of a target's clock, and a name for it.
func (c *clocks) read(url string) (time.Duration, string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if k, ok := c.offsets[url]; ok {
		return k.offset, k.version
	}
	return 0, "0"
}

func (c *clocks) version(url string) string {
	_, v := c.read(url)
	return v
}

func (c *clocks) set(url string, offset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.offsets[url]; !known && len(c.offsets) >= maxClocks {
		clear(c.offsets) // they are learned again for one refusal each
	}
	if c.offsets == nil {
		c.offsets = make(map[string]clock)
	}
	c.learned++
	c.offsets[url] = clock{offset: offset, version: strconv.Itoa(c.learned)}
}

func mentions(said string, codes ...string) bool {
	for _, code := range codes {
		if strings.Contains(said, code) {
			return true
		}
	}
	return false
}
