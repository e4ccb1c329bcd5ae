package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// splitName takes scheme:name:port apart; scheme and port may be missing.
func splitName(id string) (scheme, name, port string, ok bool) {
	switch parts := strings.Split(id, ":"); len(parts) {
	case 1:
		name = parts[0]
	case 2:
		name, port = parts[0], parts[1]
	case 3:
		scheme, name, port = parts[0], parts[1], parts[2]
	default:
		return "", "", "", false
	}
	switch scheme {
	case "", "http", "https":
	default:
		return "", "", "", false
	}
	return scheme, name, port, name != ""
}

// proxyable tells whether an address may be connected to for a client. The
// server's own machine and its links are not the cluster's to reach.
func proxyable(text string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ip, apierrors.NewServiceUnavailable(fmt.Sprintf("%q is no address", text))
	}
	ip = ip.Unmap()
	if ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsInterfaceLocalMulticast() || ip.IsMulticast() || ip.IsUnspecified() {
		return ip, apierrors.NewBadRequest("address not allowed")
	}
	return ip, nil
}

// backend is where a proxied request goes.
type backend struct {
	scheme, host string // host with its port
	transport    http.RoundTripper
	kubelet      *kubelet // nil unless it is one
	dial         dialer   // for upgrades
}

// plain is a backend that is not a kubelet.
func (k *Connector) plain(scheme, host string) backend {
	return backend{scheme: or(scheme, "http"), host: host, transport: k.backends, dial: func(ctx context.Context) (net.Conn, error) {
		conn, err := k.Dial(ctx, "tcp", host)
		if err != nil || scheme != "https" {
			return conn, err
		}
		config := k.backends.TLSClientConfig.Clone()
		config.NextProtos = []string{"http/1.1"}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	}}
}

// proxy passes a request on to a backend and its answer back.
func (k *Connector) proxy(w http.ResponseWriter, r *http.Request, c *Request, b backend) error {
	if c.Path == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) && !isUpgrade(r) {
		// So that relative links in the answer lead below the proxy.
		to := r.URL.Path + "/"
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusMovedPermanently)
		return nil
	}
	to := &url.URL{Scheme: b.scheme, Host: b.host, Path: c.Path, RawQuery: r.URL.RawQuery}
	if to.Path == "" {
		to.Path = "/"
	}
	// The backend may be told apart how the client escaped the path.
	if raw := r.URL.EscapedPath(); strings.HasSuffix(r.URL.Path, to.Path) {
		if prefix := len(r.URL.Path) - len(to.Path); prefix <= len(raw) && raw[:prefix] == r.URL.Path[:prefix] {
			to.RawPath = raw[prefix:]
		}
	}
	if isUpgrade(r) {
		header := passed(r)
		forwarded(header, r)
		return k.passUpgrade(w, r, b.dial, to, b.host, header)
	}
	base := strings.TrimSuffix(r.URL.Path, c.Path)
	var failed error
	proxy := &httputil.ReverseProxy{
		Transport: b.transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = to
			p.Out.Host = "" // the backend's
			forwarded(p.Out.Header, r)
			p.Out.Header.Del("Authorization")
		},
		ModifyResponse: func(response *http.Response) error {
			sanitize(response.Header)
			relocate(response.Header, to.Host, base)
			relink(response, to.Host, base)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:     slog.NewLogLogger(k.Logger.Handler(), slog.LevelDebug),
	}
	ctx := r.Context()
	if b.kubelet != nil {
		ctx = at(ctx, *b.kubelet)
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
	if failed != nil && !errors.Is(failed, context.Canceled) {
		return apierrors.NewServiceUnavailable("error trying to reach service: " + failed.Error())
	}
	return nil
}

// forwarded tells a backend what the client asked for.
func forwarded(h http.Header, r *http.Request) {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		h.Set("X-Forwarded-For", host)
	}
	h.Set("X-Forwarded-Host", r.Host)
	h.Set("X-Forwarded-Proto", "https")
	h.Set("X-Forwarded-Uri", r.URL.Path)
}

// sanitize takes out the headers by which a backend would speak for the API
// server's whole origin.
func sanitize(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			h.Del(name)
		}
	}
	for _, name := range []string{"Strict-Transport-Security", "Public-Key-Pins", "Alt-Svc", "Clear-Site-Data", "Service-Worker-Allowed"} {
		h.Del(name)
	}
}

// relocate makes a redirect to the backend itself one below the proxy. Others
// are the client's to follow or not.
func relocate(h http.Header, backend, base string) {
	if to, err := url.Parse(h.Get("Location")); err == nil && *to != (url.URL{}) {
		h.Set("Location", below(to, backend, base))
	}
}

var errRedirect = errors.New("the backend attempted to redirect this request, which is not permitted")

// refuseRedirect: a redirected upgrade would take the client's connection to a
// place that nobody checked.
func refuseRedirect(response *http.Response) error {
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		return errRedirect
	}
	return nil
}
