package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"clipper/internal/auth"
)

// fetchCA reads the CA from a server that nothing vouches for yet, and trusts
// it if it is the one that the token names.
func (j *Credentials) fetchCA(ctx context.Context, token auth.JoinToken) error {
	const most, within = 64 << 10, 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	transport := &http.Transport{
		// The hash decides, below.
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+j.address+auth.BootstrapPath, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	document, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%s answers %s", j.Server, resp.Status)
	}
	if resp.StatusCode != http.StatusOK {
		return final{fmt.Errorf("%s answers %s, as no server of Clipper does: check the address", j.Server, resp.Status)}
	}
	block, _ := pem.Decode(document)
	if block == nil {
		return final{fmt.Errorf("%s gives no certificate: check the address", j.Server)}
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return final{fmt.Errorf("the CA of %s: %w", j.Server, err)}
	}
	if auth.KeyHash(ca) != token.CA {
		return final{fmt.Errorf("%s is not the server that the token is of: its CA has another hash; check the address and the token, and whether somebody stands between", j.Server)}
	}
	document = pem.EncodeToMemory(block)
	if err := auth.StoreCA(j.Dir, document); err != nil {
		return final{err}
	}
	j.trust(document, ca)
	return nil
}

// final is an error that another try would not mend.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

func isFinal(err error) bool {
	var f final
	return errors.As(err, &f)
}
