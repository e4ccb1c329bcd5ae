package auth

import (
	"encoding/json"
	"net/http"
)

// Paths of the documents by which others can check ServiceAccount tokens,
// OpenID Connect Discovery 1.0.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeysPath      = "/openid/v1/jwks"
)

// Discovery serves the two documents, which never change, at their paths.
// keysURL is the address others reach KeysPath at.
func (s *Signer) Discovery(keysURL string) (http.Handler, error) {
	jwk, err := s.key.jwk()
	if err != nil {
		return nil, err
	}
	keys, err := json.Marshal(map[string]any{"keys": []any{jwk}})
	if err != nil {
		return nil, err
	}
	configuration, err := json.Marshal(map[string]any{
		"issuer":                                Issuer,
		"jwks_uri":                              keysURL,
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
	if err != nil {
		return nil, err
	}
	document := func(contentType string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Cache-Control", "public, max-age=3600")
			w.Write(body)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+DiscoveryPath, document("application/json", configuration))
	mux.Handle("GET "+KeysPath, document("application/jwk-set+json", keys))
	return mux, nil
}
