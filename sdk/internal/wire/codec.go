package wire

import (
	"strings"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto" // registers the codec
	"google.golang.org/grpc/mem"
)

// Encoded is a message to send that is in its wire form already.
type Encoded []byte

// Received is a message in its wire form. What is cut out of it is no copy.
type Received string

// Codec is the codec that the program has for protocol buffers, gRPC's if nobody registered
// another, which sends *Encoded and fills *Received too.
func Codec() encoding.CodecV2 {
	if old := encoding.GetCodec(proto.Name); old != nil {
		return codec{bridge{old}}
	}
	return codec{encoding.GetCodecV2(proto.Name)}
}

// bridge is a codec of the older kind, which knows no pieces.
type bridge struct{ encoding.Codec }

func (b bridge) Marshal(v any) (mem.BufferSlice, error) {
	data, err := b.Codec.Marshal(v)
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

func (b bridge) Unmarshal(data mem.BufferSlice, v any) error {
	return b.Codec.Unmarshal(data.Materialize(), v)
}

type codec struct{ encoding.CodecV2 }

// Marshal is called by gRPC, as is Unmarshal.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*Encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(*m)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*Received)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	var b strings.Builder
	b.Grow(data.Len())
	for _, part := range data {
		b.Write(part.ReadOnlyData())
	}
	*m = Received(b.String())
	return nil
}
