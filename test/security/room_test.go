package security

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// testRoom: a pod that holds every place for requests, by sending each so
// slowly that it never ends, keeps neither the node nor the scheduler nor an
// administrator from their work.
func testRoom(t *testing.T, w *world) {
	u, err := url.Parse(w.config.Host)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := w.pki.ClientCert("someone")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: w.pki.CAPool(), Certificates: []tls.Certificate{*cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	slow := func() io.Reader {
		conn, err := tls.Dial("tcp", u.Host, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: kubernetes\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
		return conn
	}
	// Of more than there is room for, what others lend included, some wait for a
	// seat in vain and are sent away.
	refused := make(chan int, 600)
	for range cap(refused) {
		conn := slow()
		go func() {
			if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
				refused <- resp.StatusCode
			}
		}()
	}
	select {
	case code := <-refused:
		if code != http.StatusTooManyRequests {
			t.Fatalf("the first answer is %d", code)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("600 requests of one user have room side by side")
	}
	w.start(t, shell("meanwhile", "exit 0"), ended)
}
