package wire

import (
	"testing"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
)

func TestTheCodecTakesMessagesInPieces(t *testing.T) {
	t.Parallel()
	c := Codec()
	var got Received
	if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer("ab"), mem.SliceBuffer("c")}, &got); err != nil || got != "abc" {
		t.Errorf("%q, %v", got, err)
	}
	sent := Encoded("abc")
	if data, err := c.Marshal(&sent); err != nil || string(data.Materialize()) != "abc" {
		t.Errorf("%q, %v", data.Materialize(), err)
	}
	if c.Name() != "proto" { // what says so in a header is understood by every server
		t.Error(c.Name())
	}
	crossesWith(t, c)
}

// crossesWith sends a message of the generated code through the codec.
func crossesWith(t *testing.T, c encoding.CodecV2) {
	t.Helper()
	m := &authv1.SignRequest{Id: 300}
	data, err := c.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back authv1.SignRequest
	if err := c.Unmarshal(data, &back); err != nil || !proto.Equal(m, &back) {
		t.Errorf("%v, %v", &back, err)
	}
}

// The registry is the program's. This test runs alone.
func TestTheCodecThatAProgramRegisteredIsUsed(t *testing.T) { //nolint:paralleltest // see above
	before := encoding.GetCodecV2("proto")
	defer encoding.RegisterCodecV2(before)
	mine := &countingCodec{}
	encoding.RegisterCodec(mine)
	crossesWith(t, Codec())
	if mine.n != 2 {
		t.Errorf("it was used %d times, want 2", mine.n)
	}
}

type countingCodec struct{ n int }

func (c *countingCodec) Marshal(v any) ([]byte, error) {
	c.n++
	return proto.Marshal(v.(proto.Message))
}

func (c *countingCodec) Unmarshal(data []byte, v any) error {
	c.n++
	return proto.Unmarshal(data, v.(proto.Message))
}

func (*countingCodec) Name() string { return "proto" }
