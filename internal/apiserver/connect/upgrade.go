package connect

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// isUpgrade tells whether a client asks to switch the protocol.
func isUpgrade(r *http.Request) bool {
	for _, line := range r.Header["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return r.Header.Get("Upgrade") != ""
			}
		}
	}
	return false
}

// wantsProtocol tells whether a WebSocket client offers a protocol.
func wantsProtocol(r *http.Request, protocol string) bool {
	if !isUpgrade(r) || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return false
	}
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for offered := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(offered) == protocol {
				return true
			}
		}
	}
	return false
}

// hijackable is the error of a client that cannot switch protocols.
func hijackable(r *http.Request) error {
	if !isUpgrade(r) {
		return apierrors.NewBadRequest("Upgrade request required")
	}
	if r.ProtoMajor != 1 {
		return apierrors.NewBadRequest("Upgrade request required over HTTP/1.1")
	}
	return nil
}

// dialer opens a connection to a backend.
type dialer func(ctx context.Context) (net.Conn, error)

// upgraded is a connection after its protocol was switched. It starts with
// what was already read.
type upgraded struct {
	net.Conn
	r *bufio.Reader
}

func (u *upgraded) Read(p []byte) (int, error) { return u.r.Read(p) }

// CloseWrite ends what is sent.
func (u *upgraded) CloseWrite() error {
	if half, ok := u.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return u.Close()
}

// upgrade asks a backend to switch protocols. The connection is nil if the
// backend declines; closing the answer's body closes it then.
func upgrade(ctx context.Context, dial dialer, r *http.Request) (net.Conn, *http.Response, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	// Whoever waits for the head of the answer may go away.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	reader := bufio.NewReader(conn)
	var response *http.Response
	if err = r.Write(conn); err == nil {
		response, err = http.ReadResponse(reader, r)
	}
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("%s: %w", r.URL.Host, err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		response.Body = &closing{response.Body, conn}
		return nil, response, nil
	}
	return &upgraded{conn, reader}, response, nil
}

// upgradeKubelet asks a kubelet to switch to SPDY.
func (k *Connector) upgradeKubelet(ctx context.Context, l kubelet, to *url.URL, protocol string) (net.Conn, *http.Response, error) {
	return upgrade(ctx, k.kubeletDialer(l), &http.Request{Method: http.MethodPost, URL: to, Host: to.Host, Header: http.Header{
		"Connection":                {"Upgrade"},
		"Upgrade":                   {"SPDY/3.1"},
		"X-Stream-Protocol-Version": {protocol},
	}})
}

func (k *Connector) kubeletDialer(l kubelet) dialer {
	return func(ctx context.Context) (net.Conn, error) { return k.dialKubelet(ctx, l) }
}

// passUpgrade connects a client to a backend straight through: what the one
// speaks, the other understands.
func (k *Connector) passUpgrade(w http.ResponseWriter, r *http.Request, dial dialer, to *url.URL, host string, header http.Header) error {
	if err := hijackable(r); err != nil {
		return err
	}
	server, response, err := upgrade(r.Context(), dial, &http.Request{
		Method: r.Method, URL: to, Host: host, Header: header, Body: r.Body, ContentLength: r.ContentLength,
	})
	if err != nil {
		return unreachable(err)
	}
	if server == nil {
		defer response.Body.Close()
		if err := refuseRedirect(response); err != nil {
			return apierrors.NewInternalError(err)
		}
		hopByHop(response.Header)
		sanitize(response.Header)
		for name, values := range response.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(response.StatusCode)
		pour(w, response.Body)
		return nil
	}
	defer server.Close()
	client, rw, err := lingering{w}.Hijack()
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	defer client.Close()
	stop := context.AfterFunc(r.Context(), func() { server.Close(); client.Close() })
	defer stop()
	sanitize(response.Header)
	response.Body, response.ContentLength = nil, 0
	if err := response.Write(rw); err != nil {
		return nil
	}
	if err := rw.Flush(); err != nil {
		return nil
	}
	splice(&upgraded{client, rw.Reader}, server)
	return nil
}

// passed returns a client's headers as a backend may see them.
func passed(r *http.Request) http.Header {
	header, protocol := r.Header.Clone(), r.Header.Get("Upgrade")
	hopByHop(header)
	header.Del("Authorization")
	if isUpgrade(r) {
		header.Set("Connection", "Upgrade")
		header.Set("Upgrade", protocol)
	}
	return header
}

// hopByHop takes out the headers that concern one connection only, RFC 9110.
func hopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		h.Del(name)
	}
}
