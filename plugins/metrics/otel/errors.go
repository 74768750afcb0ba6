package poolotel

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

const attrErrorType = semconv.ErrorTypeKey

// The kinds of errors, as error.type has them, beside JSON-RPC codes.
const (
	errorOther     = "_OTHER" // the word of the conventions
	errorTool      = "tool_error"
	errorTimeout   = "timeout"
	errorCanceled  = "canceled"
	errorExhausted = "exhausted"
	errorCircuit   = "circuit_open"
	errorOpen      = "open_failed"
	errorClosed    = "pool_closed"
	errorAuth      = "auth"
	errorThrottled = "throttled"
	errorSession   = "session"
	errorStatus    = "http_status"
	errorPanic     = "panic"
)

// rpcCodes are the codes that are told apart. A server may send any number.
func rpcCodes() []int64 {
	return []int64{-32700, -32600, -32601, -32602, -32603, -32000, -32001, -32002, -32042}
}

// errorTypes returns all values of error.type.
func errorTypes() []string {
	all := []string{
		errorOther, errorTool, errorTimeout, errorCanceled, errorExhausted, errorCircuit, errorOpen, errorClosed, errorAuth,
		errorThrottled, errorSession, errorStatus, errorPanic,
	}
	for _, code := range rpcCodes() {
		all = append(all, strconv.FormatInt(code, 10))
	}
	return all
}

// errorType names an error in few words, of which there is a limited number. The
// text of an error is not among them: it may hold anything.
func errorType(err error) string {
	var (
		rpc       *jsonrpc.Error
		auth      *mcpool.AuthError
		throttled *mcpool.ThrottledError
		status    *mcpool.StatusError
		session   *mcpool.SessionError
		panicked  *core.PanicError
		open      *core.OpenError
	)
	switch {
	case errors.Is(err, core.ErrExhausted):
		return errorExhausted
	case errors.Is(err, context.DeadlineExceeded):
		return errorTimeout
	case errors.Is(err, context.Canceled):
		return errorCanceled
	case errors.Is(err, core.ErrCircuitOpen):
		return errorCircuit
	case errors.Is(err, core.ErrClosed):
		return errorClosed
	case errors.As(err, &auth):
		return errorAuth
	case errors.As(err, &throttled):
		return errorThrottled
	case errors.As(err, &status):
		return errorStatus
	case errors.As(err, &rpc):
		if slices.Contains(rpcCodes(), rpc.Code) {
			return strconv.FormatInt(rpc.Code, 10)
		}
		return errorOther
	case errors.As(err, &session):
		return errorSession
	case errors.As(err, &panicked):
		return errorPanic
	case errors.As(err, &open):
		return errorOpen
	}
	return errorOther
}

// fail marks a span as failed.
func (t *Telemetry) fail(span trace.Span, kind string, err error) {
	span.SetStatus(codes.Error, kind)
	attrs := []attribute.KeyValue{attrErrorType.String(kind)}
	if err != nil && t.allows(AttrErrorMessage) {
		attrs = append(attrs, attribute.String(AttrErrorMessage, err.Error()))
	}
	span.SetAttributes(attrs...)
}
