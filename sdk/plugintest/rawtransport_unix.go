//go:build unix

package plugintest

import (
	"context"
	"encoding/json"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// unixExtra are the checks that need to be the host oneself.
func (k *transportBinary) unixExtra(b *binarySuite) []check {
	return []check{b.check("transport/HostGone", func(r *report) { k.hostGone(b, r) })}
}

// hostGone: when the host dies, connections end, and with them what they started.
func (k *transportBinary) hostGone(b *binarySuite, r *report) {
	h, ledger := b.host(r), newBook(r)
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	config, err := json.Marshal(k.opts.Config.Config)
	if err != nil {
		r.Fatalf("Config: %v", err)
	}
	if k.opts.Config.Config == nil {
		config = []byte("{}")
	}
	secrets := make(map[string][]byte)
	for path, v := range k.opts.Config.Secrets {
		secrets[path] = []byte(v.Reveal())
	}
	state := r.TempDir()
	if _, err := h.base.Open(ctx, &basev1.OpenRequest{
		Instance: "i", Kind: wire.KindTransport, Major: 1, Config: config, Secrets: secrets, StateDir: state,
	}); err != nil {
		r.Fatalf("Open: %v", err)
	}
	stream, err := transportv1.NewTransportServiceClient(h.conn).Session(ctx)
	if err != nil {
		r.Fatalf("Session: %v", err)
	}
	open := wire.OpenTo("i", k.opts.Open)
	open.Window, open.PartBytes = 8, 64<<10
	_ = stream.Send(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Open{Open: open}}) // Recv learns why not
	if m, err := stream.Recv(); err != nil || m.GetOpened() == nil {
		r.Fatalf("opening a connection: %v, %v", m, err)
	}
	l := &line{r: r, name: "gone"}
	text, err := json.Marshal(order{Order: orderLedger, Path: ledger.path, Conn: l.name})
	if err != nil {
		r.Fatalf("the ledger: %v", err)
	}
	_ = stream.Send(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Part{Part: &transportv1.Part{Data: text, Id: 1}}})
	for {
		m, err := stream.Recv()
		if err != nil || m.GetSent().GetFault() != nil || m.GetEnded() != nil {
			r.Fatalf("the ledger: %v, %v", m, err)
		}
		if m.GetPart() != nil {
			break
		}
	}
	_ = h.lifeline.Close()
	if r.wait("the plugin, after the end of its host", h.exited) {
		ledger.ended(l)
	}
}
