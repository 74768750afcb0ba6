package mcpool

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What an answer to a POST means, by status, by whether a session id was sent, and
// for 400 by its text:
//
//	404, 410 with a session id, any body     the session is gone, the call did not run
//	         (over SSE the URL has it)
//	400 with a session id, about the session the same (TypeScript servers)
//	400 to a call, about the protocol        the same: the endpoint speaks another
//	         version, or a missing session   version now than when the session began
//	401, 403                                 *AuthError
//	429, 503                                 *ThrottledError, with Retry-After
//	anything else with a JSON-RPC error      that error
//	anything else                            *StatusError

// maxErrorBody is how much of a refusal is looked at.
const maxErrorBody = 64 << 10

// refused turns an answer that is not 2xx into what it means.
func (t *chain) refused(req *http.Request, resp *http.Response) (*http.Response, error) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // a broken body is a short one
	_ = resp.Body.Close()
	// Over SSE the endpoint of every POST is that of a session.
	hadSession := req.Header.Get(sessionHeader) != "" || t.id.pool.kind == kindSSE
	rpc := rpcError(body)
	switch status := resp.StatusCode; {
	case hadSession && (lostStatus(status) || status == http.StatusBadRequest && aboutSession(body)):
		if session := connOf(req.Context()); session != nil {
			session.gone.Store(true)
		}
		return nil, &SessionError{Pool: t.id.pool.cfg.Name, Gone: true, Err: &StatusError{Status: status}}
	case callOf(req.Context()) != nil && status == http.StatusBadRequest && (otherEra(rpc, body) || sessionWords.Match(body)):
		session := connOf(req.Context())
		t.id.pool.era.forget(session.version) // so that the next one asks again
		return nil, &SessionError{Pool: t.id.pool.cfg.Name, Gone: true, Err: errSuperseded}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return nil, &AuthError{Status: status}
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		t.id.pool.counts.throttled.Add(1)
		return nil, &ThrottledError{Status: status, RetryAfter: retryAfter(resp.Header, time.Now())}
	case rpc != nil:
		resp.StatusCode = http.StatusBadRequest // or the SDK would not look at the body of some
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return resp, nil //nolint:nilerr // the answer is an error, and is whole
	default:
		return nil, &StatusError{Status: status, Message: publicText(body, resp.Request)}
	}
}

// lostStatus tells whether a status says that the session is not there.
func lostStatus(status int) bool { return status == http.StatusNotFound || status == http.StatusGone }

// rpcError returns the JSON-RPC error that a body is, or nil.
func rpcError(body []byte) *jsonrpc.Error {
	msg, err := jsonrpc.DecodeMessage(body)
	if err != nil {
		return nil //nolint:nilerr // what does not parse is something else
	}
	resp, ok := msg.(*jsonrpc.Response)
	if !ok || resp.Error == nil {
		return nil
	}
	var rpc *jsonrpc.Error
	errors.As(resp.Error, &rpc)
	return rpc
}

// sessionWords are what servers say to a session id that they do not know:
// "Session not found", "No valid session ID provided", "Server not initialized".
var sessionWords = regexp.MustCompile(
	`(?i)session[ -]?(id)? ?(was |is )?(not found|unknown|expired|invalid|terminated|closed|does not exist)|` +
		`(no valid|invalid|unknown|missing|expired) session|(server|session) not initialized`)

// versionWords are what servers say to a protocol version that they do not speak.
var versionWords = regexp.MustCompile(`(?i)(unsupported|invalid|unknown) (mcp[- ])?protocol[- ]version`)

func otherEra(rpc *jsonrpc.Error, body []byte) bool {
	return rpc != nil && rpc.Code == mcp.CodeUnsupportedProtocolVersion || versionWords.Match(body)
}

func aboutSession(body []byte) bool {
	return len(body) == 0 || sessionWords.Match(body) || strings.TrimSpace(string(body)) == "Bad Request"
}

// isSessionNotFound tells whether a JSON-RPC error, of any transport, says that
// the session is not known. The text has to say just that: a tool may have
// sessions of its own and talk about them.
func isSessionNotFound(e *jsonrpc.Error) bool {
	switch e.Code {
	case -32001, -32000, jsonrpc.CodeInvalidRequest:
		text := strings.Trim(strings.ToLower(e.Message), " .")
		return text == "session not found" || text == "session terminated" || text == "invalid session id"
	default:
		return false
	}
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(s, 0), 7*24*3600)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now).Round(time.Second), 0)
	}
	return 0
}

// publicText is the beginning of an answer's text without anything that was sent
// as a credential.
func publicText(body []byte, sent *http.Request) string {
	text := strings.ToValidUTF8(string(body[:min(len(body), 4096)]), "?")
	if sent != nil {
		for name, values := range sent.Header {
			if ordinary(name) {
				continue
			}
			for _, v := range values {
				for _, part := range append(strings.Fields(v), v) {
					if len(part) >= 4 {
						text = strings.ReplaceAll(text, part, "[redacted]")
					}
				}
			}
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

// ordinary names the headers that the SDK sets and that hold no secret.
func ordinary(name string) bool {
	switch name {
	case "Accept", "Content-Type", "Content-Length", "User-Agent", "Accept-Encoding", "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name":
		return true
	}
	return false
}

// isDialError tells whether there was no connection to send anything on.
func isDialError(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") {
		return true
	}
	var dns *net.DNSError
	return errors.As(err, &dns)
}

// mediaType is the media type of an answer, without parameters.
func mediaType(resp *http.Response) string {
	switch t := resp.Header.Get("Content-Type"); t {
	case "application/json", "text/event-stream": // nearly always, and not worth taking apart
		return t
	}
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// oneMessage tells whether body is one JSON object, which is what the SDK can
// take without ending the session.
func oneMessage(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && body[0] == '{' && json.Valid(body) && bytes.Contains(body, []byte(`"jsonrpc"`))
}
