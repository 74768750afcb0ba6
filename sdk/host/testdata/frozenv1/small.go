package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"time"
)

func parse(text []byte) (object, error) {
	o := object{}
	return o, json.Unmarshal(text, &o)
}

func text(o object) []byte {
	b, _ := json.Marshal(o)
	return b
}

// at finds a member below others, nil if there is none.
func at(o object, path ...string) any {
	for i, name := range path {
		v := o[name]
		if i == len(path)-1 {
			return v
		}
		o, _ = v.(object)
	}
	return nil
}

func str(o object, path ...string) string {
	s, _ := at(o, path...).(string)
	return s
}

func bytes(o object, path ...string) []byte {
	b, _ := base64.StdEncoding.DecodeString(str(o, path...))
	return b
}

// mutualTLS serves whoever has the certificate, with one made now, which it returns as
// the handshake has it.
func mutualTLS(clientPEM string) (*tls.Config, string, error) {
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM([]byte(clientPEM)) {
		return nil, "", errors.New("the host's certificate cannot be read")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, SerialNumber: big.NewInt(1),
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}, base64.RawStdEncoding.EncodeToString(der), nil
}
