package auth

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// Files of a PKI's directory, in the order they are written.
const (
	tokenKeyFile = "sa.key"
	caKeyFile    = "ca.key"
	caFile       = "ca.crt"
)

// PKI is the cluster's own certificate authority and token key. Only these are
// kept on disk: the certificates below the CA are made when they are asked for
// and replaced before they end, so there is nothing to renew by hand.
type PKI struct {
	clock    clock.PassiveClock
	ca       authority
	caPEM    []byte
	pool     *x509.CertPool
	tokenKey *ecdsa.PrivateKey
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// LoadOrCreate reads the PKI from dir, or makes one there if there is none. An
// empty dir keeps it in memory. It fails if the files are damaged, do not
// belong together, are past their time or can be read by others; the error
// says which and what to do.
func LoadOrCreate(dir string, clk clock.PassiveClock) (*PKI, error) {
	p := &PKI{clock: clk}
	var err error
	if dir == "" {
		_, err = p.create(nil, nil)
	} else {
		err = p.open(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster certificates: %w", err)
	}
	p.pool = x509.NewCertPool()
	p.pool.AddCert(p.ca.cert)
	return p, nil
}

func (p *PKI) open(dir string) error {
	tokenKey, err := loadKey(filepath.Join(dir, tokenKeyFile))
	if err != nil {
		return err
	}
	caKey, err := loadKey(filepath.Join(dir, caKeyFile))
	if err != nil {
		return err
	}
	path := filepath.Join(dir, caFile)
	cert, err := loadCert(path)
	if err != nil {
		return err
	}
	if cert == nil {
		// The certificate is written last, so the first start did not get to
		// its end. Keys that are there go on being used.
		files, err := p.create(tokenKey, caKey)
		if err != nil {
			return err
		}
		return writeFiles(dir, files)
	}
	for name, key := range map[string]*ecdsa.PrivateKey{tokenKeyFile: tokenKey, caKeyFile: caKey} {
		if key == nil {
			return fmt.Errorf("%s is there but %s is missing: bring it back from a backup, or remove %s to start with new credentials", path, name, dir)
		}
	}
	if !caKey.PublicKey.Equal(cert.PublicKey) {
		return fmt.Errorf("%s and %s do not belong together: bring both back from one backup", path, caKeyFile)
	}
	if !cert.IsCA {
		return fmt.Errorf("%s is not the certificate of an authority", path)
	}
	now := p.clock.Now()
	if now.After(cert.NotAfter) {
		return fmt.Errorf("%s ended on %s: remove it to have it made again from the same key, and give clients the new one", path, cert.NotAfter.Format(time.RFC3339))
	}
	if now.Before(cert.NotBefore) {
		return fmt.Errorf("%s begins on %s, but it is %s: check this machine's clock", path, cert.NotBefore.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	p.ca = authority{cert: cert, key: caKey}
	p.caPEM = encodeCert(cert.Raw)
	p.tokenKey = tokenKey
	return nil
}

// create makes what is nil and returns all files.
func (p *PKI) create(tokenKey, caKey *ecdsa.PrivateKey) ([]file, error) {
	for _, key := range []**ecdsa.PrivateKey{&tokenKey, &caKey} {
		if *key != nil {
			continue
		}
		made, err := newKey()
		if err != nil {
			return nil, err
		}
		*key = made
	}
	now := p.clock.Now()
	der, err := selfSign(caKey, "kubernetes", now)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	p.ca, p.caPEM, p.tokenKey = authority{cert: cert, key: caKey}, encodeCert(der), tokenKey

	tokenPEM, err := encodeKey(tokenKey)
	if err != nil {
		return nil, err
	}
	caKeyPEM, err := encodeKey(caKey)
	if err != nil {
		return nil, err
	}
	return []file{{tokenKeyFile, tokenPEM}, {caKeyFile, caKeyPEM}, {caFile, p.caPEM}}, nil
}

// loadKey returns nil if there is no such file.
func loadKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w: bring it back from a backup", path, err)
	}
	return key, nil
}

// loadCert returns nil if there is no such file.
func loadCert(path string) (*x509.Certificate, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := readBounded(path, info)
	if err != nil {
		return nil, err
	}
	cert, err := decodeCert(data)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w: bring it back from a backup", path, err)
	}
	return cert, nil
}

// CABundle returns the cluster's CA certificates as PEM: what clients trust
// servers by, and the content of kube-root-ca.crt. The caller must not change it.
func (p *PKI) CABundle() []byte { return p.caPEM }

// CAPool returns the cluster's CA certificates; not to be changed.
func (p *PKI) CAPool() *x509.CertPool { return p.pool }

// TokenKey returns the key that signs ServiceAccount tokens.
func (p *PKI) TokenKey() *ecdsa.PrivateKey { return p.tokenKey }

// APIServerNames returns the names and addresses that an API server's
// certificate holds in every cluster, followed by those given: the first
// address of the Service range, the node's addresses and host names.
func APIServerNames(domain string, more ...string) []string {
	return append([]string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + domain,
		"localhost", "127.0.0.1", "::1",
	}, more...)
}

// ServingTLS returns the TLS side of a server that is known by the given DNS
// names and addresses. It asks clients for a certificate but leaves it to the
// Authenticator to judge it, so that a bad one is answered with 401 and not
// with a broken connection. The certificate is replaced before it ends.
func (p *PKI) ServingTLS(commonName string, names ...string) (*tls.Config, error) {
	return p.servingTLS(leaf{user: commonName, names: names})
}

func (p *PKI) servingTLS(l leaf) (*tls.Config, error) {
	current, err := p.renewing(l)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		ClientAuth:     tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current() },
	}, nil
}

// KubeletServingTLS returns the TLS side of a node's kubelet. Only clients
// whose certificate chains to the cluster's CA get through the handshake.
func (p *PKI) KubeletServingTLS(node string, names ...string) (*tls.Config, error) {
	c, err := p.servingTLS(leaf{user: NodeUser(node), groups: []string{Nodes}, names: append([]string{node}, names...)})
	if err != nil {
		return nil, err
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, p.pool
	return c, nil
}

// ClientCert makes a client certificate of the given user and groups.
func (p *PKI) ClientCert(user string, groups ...string) (*tls.Certificate, error) {
	return p.ca.pair(leaf{user: user, groups: groups}, p.clock.Now())
}

// ClientTLS returns the TLS side of a client that acts as the given user and
// trusts the cluster's servers only. The certificate is replaced before it ends.
func (p *PKI) ClientTLS(user string, groups ...string) (*tls.Config, error) {
	current, err := p.renewing(leaf{user: user, groups: groups})
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS12,
		RootCAs:              p.pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return current() },
	}, nil
}

// renewing returns a function that gives the leaf's certificate, made anew
// when little is left of its time: at a handshake, so that an idle process
// needs no timer for it.
func (p *PKI) renewing(l leaf) (func() (*tls.Certificate, error), error) {
	first, err := p.ca.pair(l, p.clock.Now())
	if err != nil {
		return nil, err
	}
	var held atomic.Pointer[tls.Certificate]
	held.Store(first)
	return func() (*tls.Certificate, error) {
		c, now := held.Load(), p.clock.Now()
		if now.Before(c.Leaf.NotAfter.Add(-leafMargin)) || c.Leaf.NotAfter.Equal(p.ca.cert.NotAfter) {
			return c, nil
		}
		made, err := p.ca.pair(l, now)
		if err != nil {
			return nil, err
		}
		held.Store(made)
		return made, nil
	}, nil
}
