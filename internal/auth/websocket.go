package auth

import (
	"encoding/base64"
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
)

// webSocketTokenPrefix marks the protocol under which a browser, which cannot
// set headers on a WebSocket, sends its bearer token.
const webSocketTokenPrefix = "base64url.bearer.authorization.k8s.io."

// webSocketToken authenticates by the token among a WebSocket's protocols, and
// takes it out of them. It returns nil if there is none.
func (a *Authenticator) webSocketToken(r *http.Request) (user.Info, error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return nil, nil
	}
	var token string
	var others []string
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for protocol := range strings.SplitSeq(line, ",") {
			protocol = strings.TrimSpace(protocol)
			encoded, ok := strings.CutPrefix(protocol, webSocketTokenPrefix)
			if !ok {
				others = append(others, protocol)
				continue
			}
			decoded, err := base64.RawURLEncoding.DecodeString(encoded)
			if err != nil || token != "" {
				return nil, errMalformed
			}
			token = string(decoded)
		}
	}
	if token == "" {
		return nil, nil
	}
	// The handshake needs a protocol left to agree on.
	if len(others) == 0 {
		return nil, errMalformed
	}
	u, _, err := a.Tokens.Verify(token, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Sec-Websocket-Protocol", strings.Join(others, ", "))
	return u, nil
}
