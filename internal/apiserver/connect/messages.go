package connect

import (
	"encoding/base64"
	"io"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// base64Binary asks for text messages, as scripts in browsers once could not
// take others. Without it, and as binary.k8s.io, messages are binary.
const base64Binary = "base64.binary.k8s.io"

// pourMessages copies what comes into the messages of a WebSocket, at once. The
// first one is empty: it tells that the stream has begun. What the client sends
// is not looked at; gone is called when it leaves.
func (k *Connector) pourMessages(w http.ResponseWriter, r *http.Request, body io.Reader, gone func()) error {
	if err := hijackable(r); err != nil {
		return err
	}
	upgrader := websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 32 << 10,
		Subprotocols: []string{"binary.k8s.io", base64Binary},
		CheckOrigin:  func(*http.Request) bool { return true }, // as for a tunnel
	}
	socket, err := upgrader.Upgrade(lingering{w}, r, nil)
	if err != nil {
		// The handshake has answered the client, who sent it wrong.
		k.Logger.Debug("client's upgrade failed", "error", err)
		return nil
	}
	defer socket.Close()
	go func() {
		defer gone()
		for {
			if _, _, err := socket.NextReader(); err != nil {
				return
			}
		}
	}()
	kind, text := websocket.BinaryMessage, []byte(nil)
	if socket.Subprotocol() == base64Binary {
		kind = websocket.TextMessage
	}
	if socket.WriteMessage(kind, nil) != nil {
		return nil
	}
	buffer := make([]byte, 24<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			message := buffer[:n]
			if kind == websocket.TextMessage {
				text = base64.StdEncoding.AppendEncode(text[:0], message)
				message = text
			}
			if socket.WriteMessage(kind, message) != nil {
				return nil
			}
		}
		if err != nil {
			socket.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(lingerFor))
			return nil
		}
	}
}
