package security

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// dial opens a connection of HTTP/1.1 to the API.
func (w *world) dial(t *testing.T) net.Conn {
	t.Helper()
	u, err := url.Parse(w.config.Host)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: w.pki.CAPool(), NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// testWire: requests that two readers could take for different ones are
// refused, and the bounds of what a stranger may send hold.
func testWire(t *testing.T, w *world) {
	const host = "Host: kubernetes\r\n"
	for _, c := range []struct {
		name, request string
		code          int
		answers       int // how many requests were seen in it
	}{
		{"plain", "GET /version HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 200, 1},
		{"two lengths", "POST /version HTTP/1.1\r\n" + host + "Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcdGET /version HTTP/1.1\r\n" + host + "\r\n", 400, 1},
		{"a length with a sign", "POST /version HTTP/1.1\r\n" + host + "Content-Length: +4\r\n\r\nabcd", 400, 1},
		{"an unknown coding", "POST /version HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, 1},
		{"chunked twice", "POST /version HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501, 1},
		{"a space before the colon", "GET /version HTTP/1.1\r\n" + host + "Authorization : Bearer x\r\n\r\n", 400, 1},
		{"two hosts", "GET /version HTTP/1.1\r\n" + host + "Host: b\r\n\r\n", 400, 1},
		{"a line of its own", "GET /version HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n", 400, 1},
		{"no host", "GET /version HTTP/1.1\r\n\r\n", 400, 1},
		{"another protocol", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 401, 1},
		{"a long header", "GET /version HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", 256<<10) + "\r\n\r\n", 431, 1},
		{"many headers", "GET /version HTTP/1.1\r\n" + host + strings.Repeat("X: aaaaaaaaaaaaaaaa\r\n", 20_000) + "\r\n", 431, 1},
		{"a proxy's request", "GET http://10.0.0.1/api/v1/secrets HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 401, 1},
		{"a tunnel's request", "CONNECT 10.0.0.1:80 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 401, 1},
	} {
		conn := w.dial(t)
		// What is refused early is not read to its end.
		go io.WriteString(conn, c.request)
		r := bufio.NewReader(conn)
		answers, code := 0, 0
		for {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				break
			}
			if answers++; answers == 1 {
				code = resp.StatusCode
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				break
			}
			if resp.Close {
				break
			}
		}
		conn.Close()
		if code != c.code || answers != c.answers {
			t.Errorf("%s: %d in %d answers, want %d in %d", c.name, code, answers, c.code, c.answers)
		}
	}

	// A stranger's body is not waited for: the answer comes before its end.
	var address string
	for _, length := range []string{"1000", "3000000"} {
		conn := w.dial(t)
		address = conn.RemoteAddr().String()
		io.WriteString(conn, "POST /api/v1/namespaces HTTP/1.1\r\n"+host+"Content-Type: application/json\r\nContent-Length: "+length+"\r\n\r\n{")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 401 {
			t.Errorf("a body of %s bytes announced without a credential: %v %v", length, resp, err)
		}
	}

	old := &tls.Config{RootCAs: w.pki.CAPool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	if c, err := tls.Dial("tcp", address, old); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
}
