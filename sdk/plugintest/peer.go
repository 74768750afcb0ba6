package plugintest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// Peer is the other end of the connections that the kit opens: what a test puts in the
// place of an MCP server, behind the medium of the transport under test. It sends each
// message back, and does what those of them say that are orders of the kit's. PeerLines
// is one on stdin and stdout.
type Peer struct {
	// Read returns the next message, and an error at the end of the connection. Required.
	Read func() ([]byte, error)
	// Write sends a message. It blocks while the other side does not read. Required.
	Write func(message []byte) error
	// Tear ends the connection in the middle of a message, as a crash does. Nil: Serve
	// returns, and the connection ends with that.
	Tear func()
	// Done ends a peer that has stopped reading. Nil for one that ends with its process.
	Done <-chan struct{}
}

// order is what the kit tells a peer to do.
type order struct {
	Order string `json:"plugintest,omitempty"`
	// Path and Conn, of "ledger": where to write down what happens on the connection of
	// that name.
	Path string `json:"path,omitempty"`
	Conn string `json:"conn,omitempty"`
	// Count and Bytes, of "flood": how many messages to send, of which size.
	Count int `json:"count,omitempty"`
	Bytes int `json:"bytes,omitempty"`
	// ID is that of a message which is no order.
	ID string `json:"id,omitempty"`
}

// The orders.
const (
	orderLedger = "ledger" // write everything down from now on; sent back
	orderFlood  = "flood"  // send messages with numbers
	orderDeaf   = "deaf"   // read no more
	orderTear   = "tear"   // send a whole message, and end in the middle of the next
	orderLeave  = "leave"  // end in good order
)

// whole is the last message before a connection is torn.
const whole = `{"whole":true}`

// Serve plays the peer until its connection is over.
func (p Peer) Serve() {
	var l ledger
	defer l.end()
	for {
		m, err := p.Read()
		if err != nil {
			return
		}
		var o order
		_ = json.Unmarshal(m, &o) // else it is sent back as it is
		switch o.Order {
		case orderLedger:
			if l.begin(o) != nil {
				return
			}
			err = p.Write(m)
		case orderFlood:
			for i := 0; i < o.Count && err == nil; i++ {
				if err = p.Write(floodMessage(i, o.Bytes)); err == nil {
					l.note("wrote", fmt.Sprint(i))
				}
			}
		case orderDeaf:
			<-p.Done
			return
		case orderTear:
			if p.Write([]byte(whole)) == nil && p.Tear != nil {
				p.Tear()
			}
			return
		case orderLeave:
			return
		default:
			l.note("got", o.ID)
			err = p.Write(m)
		}
		if err != nil {
			return
		}
	}
}

// floodMessage is a message of so many bytes, or a little more.
func floodMessage(n, size int) []byte {
	head := fmt.Sprintf(`{"flood":%d,"pad":"`, n)
	return []byte(head + strings.Repeat("x", max(0, size-len(head)-2)) + `"}`)
}

// PeerLines plays a Peer on a stdin and a stdout, with a message on each line. It
// returns at the end of in, or of what it was told to do: the program should exit then.
func PeerLines(in io.Reader, out io.Writer) {
	lines := transport.NewLineReader(in, 64<<20)
	Peer{
		Read:  lines.Next,
		Write: func(m []byte) error { _, err := out.Write(append(m, '\n')); return err },
		Tear:  func() { _, _ = io.WriteString(out, `{"half":`) },
	}.Serve()
}

// ledger is where a peer writes down what happens: a line each, in one write, so that
// several may share a file.
type ledger struct {
	file *os.File
	conn string
}

func (l *ledger) begin(o order) error {
	if l.file != nil {
		return os.ErrExist
	}
	f, err := os.OpenFile(o.Path, os.O_APPEND|os.O_WRONLY, 0) // the kit has made it
	if err == nil {
		l.file, l.conn = f, o.Conn
		l.note("pid", strconv.Itoa(os.Getpid()))
	}
	return err
}

func (l *ledger) note(what, id string) {
	if l.file != nil {
		_, _ = l.file.WriteString(l.conn + " " + what + " " + id + "\n")
	}
}

func (l *ledger) end() {
	l.note("end", "-")
	if l.file != nil {
		_ = l.file.Close()
	}
}
