package apiserver

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
)

// stampRequest states in a signing request who made it: signers decide by that.
func stampRequest(o runtime.Object, u user.Info) {
	s := &o.(*certificatesv1.CertificateSigningRequest).Spec
	s.Username, s.UID, s.Groups, s.Extra = u.GetName(), u.GetUID(), u.GetGroups(), nil
	if extra := u.GetExtra(); len(extra) > 0 {
		s.Extra = make(map[string]certificatesv1.ExtraValue, len(extra))
		for k, v := range extra {
			s.Extra[k] = v
		}
	}
}
