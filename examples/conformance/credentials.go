package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/go-mcpool/mcpool/plugins/auth/oauth"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// metadataURL is where the suite wants a client ID metadata document to be; nobody
// fetches it.
const metadataURL = "https://conformance-test.local/client-metadata.json"

// credentials returns the provider for a scenario, nil if it needs none, and whose
// credentials are wanted.
func credentials(s scenario) (auth.Provider, auth.Identity, error) {
	if !strings.HasPrefix(s.name, "auth/") {
		return nil, auth.Identity{}, nil
	}
	cfg, id, err := oauthConfig(s)
	if err != nil {
		return nil, id, err
	}
	provider, err := oauth.New(cfg)
	if err != nil {
		return nil, id, err
	}
	return provider, id, nil
}

func oauthConfig(s scenario) (cfg oauth.Config, id auth.Identity, err error) {
	cfg.Client = oauth.Client{ID: s.with.ClientID, Secret: auth.NewSecret(s.with.ClientSecret)}
	if cfg.Client.ID == "" {
		cfg.Client.MetadataURL = metadataURL
	}
	// Some scenarios say which server the client's secret is for. The others only say
	// the secret, and want it sent where the target says: nobody should outside a test.
	cfg.Issuer = s.with.Issuer
	cfg.AnyIssuer = cfg.Issuer == "" && (s.with.ClientSecret != "" || s.with.WorkloadJWT != "")
	switch s.name {
	case "auth/client-credentials-basic":
		cfg.Grant = oauth.ClientCredentials
	case "auth/client-credentials-jwt":
		cfg.Grant = oauth.ClientCredentials
		cfg.Client.PrivateKey, err = privateKey(s.with.PrivateKeyPEM)
	case "auth/enterprise-managed-authorization", "auth/cross-app-access-complete-flow":
		cfg.Grant = oauth.IdentityAssertion
		cfg.IDP = oauth.IDP{Issuer: s.with.IDPIssuer, Client: oauth.Client{ID: s.with.IDPClientID}}
		if cfg.IDP.Issuer == "" {
			cfg.IDP.TokenEndpoint = s.with.IDPTokenEndpoint
		}
		id = subject("employee", s.with.IDPToken)
	case "auth/wif-jwt-bearer":
		cfg.Grant = oauth.JWTBearer
		id = subject("workload", s.with.WorkloadJWT)
	case "auth/dpop", "auth/dpop-nonce":
		cfg.DPoP = true
	}
	return cfg, id, err
}

func subject(id, token string) auth.Identity {
	return auth.Identity{ID: id, Subject: func(context.Context) (auth.Secret, error) {
		return auth.NewSecret(token), nil
	}}
}

func privateKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("private_key_pem is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("private_key_pem: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("private_key_pem: a %T cannot sign", key)
	}
	return signer, nil
}
