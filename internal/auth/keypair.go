package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// KeyPair is a key and the certificate that somebody else signed for it, kept
// together in one file that only its owner can read, DIR/NAME.pem.
type KeyPair struct {
	dir, name string
	clock     clock.PassiveClock
	current   atomic.Pointer[tls.Certificate]
}

// OpenKeyPair reads the pair, if it is there.
func OpenKeyPair(dir, name string, clk clock.PassiveClock) (*KeyPair, error) {
	p := &KeyPair{dir: dir, name: name + ".pem", clock: clk}
	path := filepath.Join(dir, p.name)
	data, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	held, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w: remove it, and give the node a token to join anew", path, err)
	}
	p.current.Store(&held)
	return p, nil
}

// Certificate returns the pair, or nil if there is none or its time has passed.
func (p *KeyPair) Certificate() *tls.Certificate {
	c := p.current.Load()
	if c == nil || p.clock.Now().After(c.Leaf.NotAfter) {
		return nil
	}
	return c
}

// Ended returns when the pair's certificate ended, or zero if it did not or
// there is none.
func (p *KeyPair) Ended() time.Time {
	if c := p.current.Load(); c != nil && p.Certificate() == nil {
		return c.Leaf.NotAfter
	}
	return time.Time{}
}

// Renewal returns when the pair is to be replaced: when a quarter of its
// certificate's life is left. It is zero if there is none.
func (p *KeyPair) Renewal() time.Time {
	c := p.current.Load()
	if c == nil {
		return time.Time{}
	}
	return c.Leaf.NotAfter.Add(-c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 4)
}

// Holds tells whether the pair's certificate is for all the given names and
// addresses.
func (p *KeyPair) Holds(name string, ips ...netip.Addr) bool {
	c := p.Certificate()
	return c != nil && slices.Contains(c.Leaf.DNSNames, name) && !slices.ContainsFunc(ips, func(ip netip.Addr) bool {
		return !slices.ContainsFunc(c.Leaf.IPAddresses, func(have net.IP) bool { return have.Equal(ip.AsSlice()) })
	})
}

// NodeRequest makes a new key and, as PEM, the request for a node's certificate
// with it: a serving one if there are names, else a client's.
func NodeRequest(node string, names []string, ips []netip.Addr) (*ecdsa.PrivateKey, []byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	t := &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: NodeUser(node), Organization: []string{Nodes}},
		DNSNames: names,
	}
	for _, ip := range ips {
		t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, t, key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate request of node %s: %w", node, err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// Replace takes a new key with its certificate in PEM, and writes both down.
func (p *KeyPair) Replace(key *ecdsa.PrivateKey, certificate []byte) error {
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	made, err := tls.X509KeyPair(certificate, keyPEM)
	if err != nil {
		return fmt.Errorf("the new certificate: %w", err)
	}
	if err := writeFiles(p.dir, []file{{p.name, slices.Concat(certificate, keyPEM)}}); err != nil {
		return err
	}
	p.current.Store(&made)
	return nil
}

// LoadCA reads the CA that an agent trusts from dir, as PEM and parsed; both
// are nil if there is none.
func LoadCA(dir string) ([]byte, *x509.Certificate, error) {
	cert, err := loadCert(filepath.Join(dir, caFile))
	if cert == nil || err != nil {
		return nil, nil, err
	}
	return encodeCert(cert.Raw), cert, nil
}

// StoreCA writes down the CA that an agent trusts.
func StoreCA(dir string, document []byte) error {
	return writeFiles(dir, []file{{caFile, bytes.TrimSpace(document)}})
}
