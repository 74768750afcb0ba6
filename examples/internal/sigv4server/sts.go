package sigv4server

import (
	"crypto/rand"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// assumeRole is the one action of STS that the examples need (API version
// 2011-06-15). Whoever asks must be the application, with a signature.
func (s *Server) assumeRole(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "text/xml")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		stsError(w, http.StatusBadRequest, "ValidationError", "the body cannot be read")
		return
	}
	if _, err := s.verify(r, body, "sts"); err != nil {
		code, message, _ := strings.Cut(err.Error(), ": ")
		stsError(w, http.StatusForbidden, code, message)
		return
	}
	form, err := url.ParseQuery(string(body))
	session := form.Get("RoleSessionName")
	switch {
	case err != nil || form.Get("Action") != "AssumeRole":
		stsError(w, http.StatusBadRequest, "InvalidAction", "this server knows AssumeRole only")
		return
	case s.cfg.Role == "" || form.Get("RoleArn") != s.cfg.Role || s.forbidden(session):
		stsError(w, http.StatusForbidden, "AccessDenied", "not authorized to perform: sts:AssumeRole")
		return
	}
	var caller strings.Builder
	caller.WriteString(session)
	for i := 1; form.Has(fmt.Sprintf("Tags.member.%d.Key", i)); i++ {
		fmt.Fprintf(&caller, " %s=%s", form.Get(fmt.Sprintf("Tags.member.%d.Key", i)), form.Get(fmt.Sprintf("Tags.member.%d.Value", i)))
	}
	id := "ASIA" + rand.Text()[:16]
	k := key{secret: rand.Text(), token: rand.Text(), caller: caller.String()}
	s.mu.Lock()
	s.keys[id] = k
	s.stats.Sessions[session]++
	s.mu.Unlock()
	_ = xml.NewEncoder(w).Encode(assumed{ // who left does not read it
		Credentials: sessionKeys{id, k.secret, k.token, s.now().Add(time.Hour).UTC().Format(time.RFC3339)},
		ARN:         strings.Replace(s.cfg.Role, ":role/", ":assumed-role/", 1) + "/" + session,
	})
}

type assumed struct {
	XMLName     xml.Name    `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
	Credentials sessionKeys `xml:"AssumeRoleResult>Credentials"`
	ARN         string      `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
}

type sessionKeys struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string `xml:"SecretAccessKey"`
	SessionToken    string `xml:"SessionToken"`
	Expiration      string `xml:"Expiration"`
}

type stsFault struct {
	XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Type    string   `xml:"Error>Type"`
	Code    string   `xml:"Error>Code"`
	Message string   `xml:"Error>Message"`
}

func stsError(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(stsFault{Type: "Sender", Code: code, Message: message}) // likewise
}
