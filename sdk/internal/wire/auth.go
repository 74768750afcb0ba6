package wire

import (
	"context"
	"errors"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
)

// RequestTo makes the message. The subject's token is the caller's to add.
func RequestTo(r auth.Request) *authv1.Request {
	return &authv1.Request{
		Identity:  &authv1.Identity{Id: r.Identity.ID, Attrs: r.Identity.Attrs},
		Target:    &authv1.Target{Name: r.Target.Name, Url: r.Target.URL, Resource: r.Target.Resource},
		Scopes:    r.Scopes,
		ScopesSet: r.Scopes != nil,
	}
}

// RequestFrom is the way back. A subject that came along is given out by the
// identity's Subject.
func RequestFrom(m *authv1.Request) auth.Request {
	r := auth.Request{
		Identity: auth.Identity{ID: m.GetIdentity().GetId(), Attrs: m.GetIdentity().GetAttrs()},
		Target: auth.Target{
			Name: m.GetTarget().GetName(), URL: m.GetTarget().GetUrl(), Resource: m.GetTarget().GetResource(),
		},
		Scopes: m.GetScopes(),
	}
	if m.GetScopesSet() && r.Scopes == nil {
		r.Scopes = []string{}
	}
	if s := m.GetIdentity().GetSubject(); s != nil {
		token := auth.NewSecret(string(s.GetToken()))
		problem := s.GetProblem()
		r.Identity.Subject = func(context.Context) (auth.Secret, error) {
			if problem != "" {
				return auth.Secret{}, errors.New(problem)
			}
			return token, nil
		}
	}
	return r
}

// HeaderTo makes the messages, in few pieces.
func HeaderTo(h http.Header) []*authv1.Header {
	var count, bytes int
	for _, values := range h {
		count += len(values)
		for _, v := range values {
			bytes += len(v)
		}
	}
	out := make([]*authv1.Header, 0, len(h))
	messages, places, room := make([]authv1.Header, len(h)), make([][]byte, 0, count), make([]byte, 0, bytes)
	for name, values := range h {
		m := &messages[len(out)]
		first := len(places)
		for _, v := range values {
			begin := len(room)
			room = append(room, v...)
			places = append(places, room[begin:len(room):len(room)])
		}
		m.Name, m.Values = name, places[first:len(places):len(places)]
		out = append(out, m)
	}
	return out
}

// HeaderFrom is the way back, under canonical names, in few pieces.
func HeaderFrom(ms []*authv1.Header) http.Header {
	if len(ms) == 0 {
		return nil
	}
	var count, bytes int
	for _, m := range ms {
		count += len(m.GetValues())
		for _, v := range m.GetValues() {
			bytes += len(v)
		}
	}
	h, places := make(http.Header, len(ms)), make([]string, 0, count)
	var room strings.Builder
	room.Grow(bytes) // what is cut out of it stays where it is
	for _, m := range ms {
		first := len(places)
		for _, v := range m.GetValues() {
			begin := room.Len()
			room.Write(v)
			places = append(places, room.String()[begin:])
		}
		name, values := textproto.CanonicalMIMEHeaderKey(m.GetName()), places[first:len(places):len(places)]
		if before, twice := h[name]; twice {
			values = append(before, values...)
		}
		h[name] = values
	}
	return h
}

// HTTPRequestTo makes the message.
func HTTPRequestTo(r auth.HTTPRequest) *authv1.HttpRequest {
	return &authv1.HttpRequest{
		Method: r.Method, Url: r.URL, Host: r.Host, Headers: HeaderTo(r.Header),
		ContentLength: r.ContentLength, BodySha256: r.BodySHA256[:],
	}
}

// HTTPRequestFrom is the way back.
func HTTPRequestFrom(m *authv1.HttpRequest) auth.HTTPRequest {
	r := auth.HTTPRequest{
		Method: m.GetMethod(), URL: m.GetUrl(), Host: m.GetHost(), Header: HeaderFrom(m.GetHeaders()),
		ContentLength: m.GetContentLength(),
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	copy(r.BodySHA256[:], m.GetBodySha256())
	return r
}

// CredentialsTo makes the message.
func CredentialsTo(c auth.Credentials) *authv1.CredentialsResponse {
	return &authv1.CredentialsResponse{
		Headers: HeaderTo(c.Header), Expires: timeTo(c.Expires), RefreshAfter: timeTo(c.RefreshAfter),
		Generation: Clean(c.Generation, maxMessage),
	}
}

// CredentialsFrom is the way back.
func CredentialsFrom(m *authv1.CredentialsResponse) auth.Credentials {
	return auth.Credentials{
		Header: HeaderFrom(m.GetHeaders()), Expires: TimeFrom(m.GetExpires()),
		RefreshAfter: TimeFrom(m.GetRefreshAfter()), Generation: m.GetGeneration(),
	}
}

// ChallengeTo makes the message.
func ChallengeTo(instance string, r auth.Request, c auth.Challenge) *authv1.ChallengeRequest {
	return &authv1.ChallengeRequest{
		Instance: instance, Request: RequestTo(r), Sent: HTTPRequestTo(c.Sent), SentAt: timeTo(c.SentAt),
		Generation: Clean(c.Generation, maxMessage), Status: int32(min(max(c.Status, 0), 999)),
		Headers: HeaderTo(c.Header), Body: c.Body[:min(len(c.Body), auth.MaxChallengeBody)],
	}
}

// ChallengeFrom is the way back.
func ChallengeFrom(m *authv1.ChallengeRequest) auth.Challenge {
	return auth.Challenge{
		Sent: HTTPRequestFrom(m.GetSent()), SentAt: TimeFrom(m.GetSentAt()), Generation: m.GetGeneration(),
		Status: int(m.GetStatus()), Header: HeaderFrom(m.GetHeaders()), Body: m.GetBody(),
	}
}

// OutcomeTo makes the message's value.
func OutcomeTo(o auth.Outcome) authv1.Outcome {
	switch o {
	case auth.Retry:
		return authv1.Outcome_OUTCOME_RETRY
	case auth.NeedsLogin:
		return authv1.Outcome_OUTCOME_NEEDS_LOGIN
	default:
		return authv1.Outcome_OUTCOME_GIVE_UP
	}
}

// OutcomeFrom is the way back. What is not known is no reason to try again.
func OutcomeFrom(o authv1.Outcome) auth.Outcome {
	switch o {
	case authv1.Outcome_OUTCOME_RETRY:
		return auth.Retry
	case authv1.Outcome_OUTCOME_NEEDS_LOGIN:
		return auth.NeedsLogin
	default:
		return auth.GiveUp
	}
}

func timeTo(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// TimeFrom is the zero time where there is none.
func TimeFrom(m *timestamppb.Timestamp) time.Time {
	if m == nil || !m.IsValid() {
		return time.Time{}
	}
	return m.AsTime()
}
