package connect

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

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
func hijackable(w http.ResponseWriter, r *http.Request) error {
	if !isUpgrade(r) {
		return apierrors.NewBadRequest("Upgrade request required")
	}
	if r.ProtoMajor != 1 {
		return apierrors.NewBadRequest("Upgrade request required over HTTP/1.1")
	}
	return nil
}

// passUpgrade connects client and kubelet straight through: what the one
// speaks, the other understands.
func (k *Connector) passUpgrade(w http.ResponseWriter, r *http.Request, l kubelet, to *url.URL) error {
	if err := hijackable(w, r); err != nil {
		return err
	}
	var failed error
	proxy := &httputil.ReverseProxy{
		Transport: k.kubelets,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = to, to.Host
			p.Out.Header.Del("Origin") // the API server's to judge, not the kubelet's
		},
		ModifyResponse: refuseRedirect,
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:       slog.NewLogLogger(k.Logger.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(w, r.WithContext(at(r.Context(), l)))
	if failed != nil {
		return asStatus(failed)
	}
	return nil
}
