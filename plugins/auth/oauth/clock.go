package oauth

import (
	"net/http"
	"net/url"
	"sync"
	"time"
)

// What a server thinks the time is matters when it judges what we sign: assertions
// and DPoP proofs are good for a minute. A clock that is off by an hour is corrected
// by the Date of the answer that refuses one.

// minSkew is the least difference that is a wrong clock, and not a slow answer.
const minSkew = 10 * time.Second

// clocks knows how far the clocks of servers are ahead of ours.
type clocks struct {
	mu   sync.Mutex
	skew map[string]time.Duration // guarded by mu; by origin, those that differ
}

// at returns what the server at that URL should think the time is.
func (c *clocks) at(rawURL string) time.Time {
	origin := originOf(rawURL)
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew[origin])
}

// learn takes note of an answer's Date and reports whether that changed anything.
func (c *clocks) learn(rawURL, date string, sentAt time.Time) bool {
	theirs, err := http.ParseTime(date)
	if err != nil || sentAt.IsZero() {
		return false
	}
	// Date has whole seconds, and was written between sentAt and now.
	skew := theirs.Sub(sentAt.Add(time.Since(sentAt) / 2)).Round(time.Second)
	if skew.Abs() < minSkew {
		skew = 0
	}
	origin := originOf(rawURL)
	c.mu.Lock()
	defer c.mu.Unlock()
	if (c.skew[origin] - skew).Abs() < minSkew {
		return false
	}
	if c.skew == nil {
		c.skew = make(map[string]time.Duration)
	}
	c.skew[origin] = skew
	return true
}

// originOf is scheme, host and port as written; empty if there is no host.
func originOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
