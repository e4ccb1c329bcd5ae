package connect

import (
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/portforward"
)

func (k *Connector) portForward(w http.ResponseWriter, r *http.Request, c *Request) error {
	pod, err := k.pod(c)
	if err != nil {
		return err
	}
	l, err := k.host(pod)
	if err != nil {
		return err
	}
	ask := url.Values{}
	// Only clients of the old WebSocket protocol name the ports here.
	for _, ports := range r.URL.Query()["ports"] {
		ask["port"] = append(ask["port"], strings.Split(ports, ",")...)
	}
	if ports := r.URL.Query()["port"]; len(ports) > 0 {
		ask["port"] = append(ask["port"], ports...)
	}
	to := l.url("/portForward/"+podPath(pod), ask)
	if wantsProtocol(r, portforward.WebsocketsSPDYTunnelingPortForwardV1) {
		return k.tunnel(w, r, c, l, to)
	}
	return k.passUpgrade(w, r, k.kubeletDialer(l), to, to.Host, passed(r))
}
