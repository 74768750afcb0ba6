package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
)

func verifyEC(pub *ecdsa.PublicKey, input, sig []byte) bool {
	half := len(sig) / 2
	digest := sha256.Sum256(input)
	d := digest[:]
	if half == 48 {
		d384 := sha512.Sum384(input)
		d = d384[:]
	}
	return ecdsa.Verify(pub, d, new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:]))
}

func verifyRSA(pub *rsa.PublicKey, input, sig []byte) bool {
	digest := sha256.Sum256(input)
	return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig) == nil
}
