package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// maxToken bounds the bearer tokens that are looked at, in bytes.
const maxToken = 16 << 10

// jwtKey is an ES256 key under the name that tokens refer to it by.
type jwtKey struct {
	id      string
	private *ecdsa.PrivateKey
	public  *ecdsa.PublicKey
	header  string // of the tokens it signs, encoded
}

func newJWTKey(private *ecdsa.PrivateKey) (*jwtKey, error) {
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	k := &jwtKey{id: base64.RawURLEncoding.EncodeToString(sum[:]), private: private, public: &private.PublicKey}
	header, err := json.Marshal(jwtHeader{Algorithm: "ES256", Key: k.id})
	if err != nil {
		return nil, err
	}
	k.header = base64.RawURLEncoding.EncodeToString(header)
	return k, nil
}

type jwtHeader struct {
	Algorithm string   `json:"alg"`
	Key       string   `json:"kid"`
	Type      string   `json:"typ,omitempty"`
	Critical  []string `json:"crit,omitempty"`
}

// sign returns the compact form of the claims, RFC 7515.
func (k *jwtKey) sign(claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	token := make([]byte, 0, len(k.header)+2+enc.EncodedLen(len(payload))+enc.EncodedLen(64))
	token = append(token, k.header...)
	token = append(token, '.')
	token = enc.AppendEncode(token, payload)
	sum := sha256.Sum256(token)
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	token = append(token, '.')
	return string(enc.AppendEncode(token, signature[:])), nil
}

var errMalformed = errors.New("not a token of this cluster")

// verify checks the signature and decodes the payload into claims.
func (k *jwtKey) verify(token string, claims any) error {
	if len(token) > maxToken {
		return errMalformed
	}
	parts := bytes.Split([]byte(token), []byte("."))
	if len(parts) != 3 {
		return errMalformed
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		// Strict, so that one token has one spelling.
		if decoded[i], err = base64.RawURLEncoding.Strict().AppendDecode(nil, part); err != nil {
			return errMalformed
		}
	}
	var header jwtHeader
	if err := json.Unmarshal(decoded[0], &header); err != nil {
		return errMalformed
	}
	if header.Algorithm != "ES256" || header.Key != k.id || len(header.Critical) > 0 || len(decoded[2]) != 64 {
		return errMalformed
	}
	sum := sha256.Sum256([]byte(token[:len(parts[0])+1+len(parts[1])]))
	r, s := new(big.Int).SetBytes(decoded[2][:32]), new(big.Int).SetBytes(decoded[2][32:])
	if !ecdsa.Verify(k.public, sum[:], r, s) {
		return errors.New("the token's signature is wrong")
	}
	if err := json.Unmarshal(decoded[1], claims); err != nil {
		return fmt.Errorf("the token's claims: %w", err)
	}
	return nil
}

// jwk returns the public key as RFC 7517 writes it.
func (k *jwtKey) jwk() (map[string]string, error) {
	point, err := k.public.Bytes() // 4, x, y
	if err != nil {
		return nil, err
	}
	enc := base64.RawURLEncoding
	return map[string]string{
		"use": "sig", "kty": "EC", "kid": k.id, "crv": "P-256", "alg": "ES256",
		"x": enc.EncodeToString(point[1:33]), "y": enc.EncodeToString(point[33:]),
	}, nil
}
