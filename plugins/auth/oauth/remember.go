package oauth

import (
	"context"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// discovered is a server as the store holds it, so that the first request of the
// next process need not be refused to find it.
type discovered struct {
	Issuer      string    `json:"issuer"`
	Resource    string    `json:"resource"`
	Scopes      []string  `json:"scopes,omitempty"`
	MetadataURL string    `json:"metadata_url,omitempty"`
	Legacy      bool      `json:"legacy,omitempty"`
	At          time.Time `json:"at"`
}

// discoveryAge is how long a discovery is remembered. A 401 corrects a younger one.
const discoveryAge = 7 * 24 * time.Hour

func discoveryKey(t auth.Target) Key {
	key := Key{Client: clientDiscovery, Resource: t.URL}
	if t.Resource != "" {
		key.Resource += " " + t.Resource
	}
	return key
}

func (p *Provider) remember(ctx context.Context, t auth.Target, srv *server) error {
	return p.cfg.Store.Update(ctx, discoveryKey(t), func(Entry) (Entry, error) {
		now := time.Now()
		return encode(discovered{
			Issuer: srv.issuer, Resource: srv.resource, Scopes: srv.scopes,
			MetadataURL: srv.metadataURL, Legacy: srv.legacy, At: now,
		}, now.Add(discoveryAge))
	})
}

func (p *Provider) remembered(ctx context.Context, t auth.Target, st *targetState) (*server, error) {
	entry, err := p.cfg.Store.Load(ctx, discoveryKey(t))
	if err != nil {
		return nil, err
	}
	d, err := decode[discovered](entry)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	st.loaded = true
	if st.server == nil && d.Issuer != "" && !entry.expired(time.Now()) {
		st.at = d.At
		st.server = &server{
			issuer: d.Issuer, resource: d.Resource, reach: p.reach(t),
			scopes: d.Scopes, metadataURL: d.MetadataURL, legacy: d.Legacy,
		}
	}
	return st.server, nil
}
