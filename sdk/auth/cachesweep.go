package auth

import "time"

// scheduleSweep arms the one timer of the cache, unless it is armed already.
func (c *Cache) scheduleSweep() {
	if c.cfg.IdleExpiry < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sweeper == nil && !c.closed {
		c.sweeper = time.AfterFunc(c.cfg.IdleExpiry/2, c.sweep)
	}
}

// sweep drops what nobody asked for, and arms the timer again while anything is
// left: an unused cache has no timer.
func (c *Cache) sweep() {
	if !c.begin() {
		return
	}
	defer c.end()
	idleSince := time.Now().Add(-c.cfg.IdleExpiry).UnixNano()
	c.keys.remove(func(e *entry) bool { return e.used.Load() <= idleSince && !e.busy() })
	c.mu.Lock()
	c.sweeper = nil
	c.mu.Unlock()
	if c.keys.count.Load() > 0 {
		c.scheduleSweep()
	}
}
