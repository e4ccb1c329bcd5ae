package scheme

import authenticationv1 "k8s.io/api/authentication/v1"

// DefaultTokenRequest fills in how long a token lasts: an hour. The kind is
// that of a subresource and so has no row.
func DefaultTokenRequest(r *authenticationv1.TokenRequest) {
	point(&r.Spec.ExpirationSeconds, 60*60)
}
