// Package kubectl plays what people do with kubectl, a story a script, against
// the built program: with clipper's own kubectl and, if UPSTREAM_KUBECTL names
// it, with upstream's too. Each script has a cluster of its own.
package kubectl

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"clipper/test/cluster"
	"clipper/test/script"
)

func TestScripts(t *testing.T) {
	kubectls := map[string]string{"clipper": cluster.Program(t)}
	if upstream := os.Getenv("UPSTREAM_KUBECTL"); upstream != "" {
		kubectls["upstream"] = upstream
	}
	for who, program := range kubectls {
		t.Run(who, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir: "testdata",
				Setup: func(env *testscript.Env) error {
					c := cluster.Start(env.T().(testing.TB))
					c.LoadImages()
					script.Setup(env, c, program)
					return writeKeys(env.WorkDir)
				},
				Cmds: script.Commands,
			})
		})
	}
}

// writeKeys puts tls.key, a certificate for it, tls.crt, and a request for one,
// jane.csr, into a folder.
func writeKeys(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	jane := pkix.Name{CommonName: "jane", Organization: []string{"devs"}}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: jane, NotAfter: time.Now().Add(time.Hour)}
	crt, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: jane}, key)
	if err != nil {
		return err
	}
	write := func(name, kind string, der []byte) error {
		return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	return errors.Join(write("tls.key", "PRIVATE KEY", der), write("tls.crt", "CERTIFICATE", crt), write("jane.csr", "CERTIFICATE REQUEST", csr))
}
