package connect

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gorilla/websocket"
	"k8s.io/apimachinery/pkg/util/portforward"
	tunnels "k8s.io/client-go/tools/portforward"
)

// tunnel connects a WebSocket whose messages are the bytes of a SPDY
// connection to a kubelet's SPDY.
func (k *Connector) tunnel(w http.ResponseWriter, r *http.Request, c *Request, l kubelet, to *url.URL) error {
	if err := hijackable(r); err != nil {
		return err
	}
	server, declined, err := k.upgradeKubelet(r.Context(), l, to, portforward.PortForwardV1Name)
	if err != nil {
		return unreachable(err)
	}
	if server == nil {
		defer declined.Body.Close()
		return refusal(declined, pods, c.Name)
	}
	defer server.Close()
	upgrader := websocket.Upgrader{
		ReadBufferSize: 32 << 10, WriteBufferSize: 32 << 10,
		Subprotocols: []string{portforward.WebsocketsSPDYTunnelingPortForwardV1},
		// A browser sends no client certificate unasked, and a token only
		// where a script has it: the origin says nothing more.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	socket, err := upgrader.Upgrade(lingering{w}, r, nil)
	if err != nil {
		// The handshake has answered the client, who sent it wrong.
		k.Logger.Debug("client's upgrade failed", "error", err)
		return nil
	}
	client := tunnels.NewTunnelingConnection("client", socket)
	defer client.Close()
	stop := context.AfterFunc(r.Context(), func() { server.Close(); client.Close() })
	defer stop()
	splice(client, server)
	return nil
}
