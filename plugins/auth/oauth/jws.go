package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// A signed JWT is all that private_key_jwt and DPoP need of JOSE. It is made here
// because the keys are crypto.Signers, which may live in hardware or a cloud.

// algorithm is the JWS algorithm for a key (RFC 7518, 3.1 and RFC 8037).
func algorithm(key crypto.Signer) (string, error) {
	switch pub := key.Public().(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return "ES256", nil
		case elliptic.P384():
			return "ES384", nil
		}
		return "", errors.New("is an ECDSA key on a curve other than P-256 and P-384")
	case ed25519.PublicKey:
		return "EdDSA", nil
	case *rsa.PublicKey:
		if pub.N.BitLen() < 2048 {
			return "", errors.New("is an RSA key of less than 2048 bits")
		}
		return "RS256", nil
	default:
		return "", fmt.Errorf("has a public key of type %T: use ECDSA, Ed25519 or RSA", pub)
	}
}

// signJWT returns the compact form of header and claims, signed.
func signJWT(key crypto.Signer, header, claims map[string]any) (string, error) {
	alg, err := algorithm(key)
	if err != nil {
		return "", fmt.Errorf("oauth: the signing key %w", err)
	}
	header["alg"] = alg
	h, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("oauth: JWT header: %w", err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("oauth: JWT claims: %w", err)
	}
	input := b64(h) + "." + b64(c)
	sig, err := signBytes(key, alg, []byte(input))
	if err != nil {
		return "", fmt.Errorf("oauth: signing a JWT with %s: %w", alg, err)
	}
	return input + "." + b64(sig), nil
}

func signBytes(key crypto.Signer, alg string, input []byte) ([]byte, error) {
	if alg == "EdDSA" {
		return key.Sign(rand.Reader, input, crypto.Hash(0))
	}
	hash := crypto.SHA256
	if alg == "ES384" {
		hash = crypto.SHA384
	}
	h := hash.New()
	h.Write(input)
	sig, err := key.Sign(rand.Reader, h.Sum(nil), hash)
	if err != nil || alg == "RS256" {
		return sig, err
	}
	// JWS wants r and s side by side, at the size of the curve (RFC 7518, 3.4).
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(sig, &rs); err != nil || len(rest) > 0 {
		return nil, errors.New("the key returned a signature that is not ASN.1")
	}
	size := hash.Size()
	if rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > 8*size || rs.S.BitLen() > 8*size {
		return nil, errors.New("the key returned a signature that is out of range")
	}
	out := make([]byte, 2*size)
	rs.R.FillBytes(out[:size])
	rs.S.FillBytes(out[size:])
	return out, nil
}

// publicJWK is the public key as DPoP carries it (RFC 7517), with exactly the
// members that its thumbprint covers.
func publicJWK(pub crypto.PublicKey) (map[string]string, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 0x04, x, y
		if err != nil {
			return nil, fmt.Errorf("oauth: public key: %w", err)
		}
		size := (len(point) - 1) / 2
		return map[string]string{
			"kty": "EC", "crv": pub.Curve.Params().Name,
			"x": b64(point[1 : 1+size]), "y": b64(point[1+size:]),
		}, nil
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(pub)}, nil
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "n": b64(pub.N.Bytes()), "e": b64(big.NewInt(int64(pub.E)).Bytes())}, nil
	default:
		return nil, fmt.Errorf("oauth: no JWK for a %T", pub)
	}
}

// thumbprint is RFC 7638: the digest of the JWK's JSON with its names sorted, which
// is how Go writes a map.
func thumbprint(jwk map[string]string) (string, error) {
	data, err := json.Marshal(jwk)
	if err != nil {
		return "", fmt.Errorf("oauth: JWK thumbprint: %w", err)
	}
	sum := sha256.Sum256(data)
	return b64(sum[:]), nil
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
