package apiserver

import (
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
)

// stampRequest states in a signing request who made it, as signers decide by
// that, and when it was answered where the answer does not say.
func stampRequest(o, was runtime.Object, u user.Info, now metav1.Time) {
	r := o.(*certificatesv1.CertificateSigningRequest)
	if was != nil {
		r.Status.Conditions = stampConditions(r.Status.Conditions, was.(*certificatesv1.CertificateSigningRequest).Status.Conditions, now)
		return
	}
	s := &r.Spec
	s.Username, s.UID, s.Groups, s.Extra = u.GetName(), u.GetUID(), u.GetGroups(), nil
	if extra := u.GetExtra(); len(extra) > 0 {
		s.Extra = make(map[string]certificatesv1.ExtraValue, len(extra))
		for k, v := range extra {
			s.Extra[k] = v
		}
	}
}

// stampConditions returns the conditions with all their times. One whose status
// is the old one's changed when that did.
func stampConditions(list, old []certificatesv1.CertificateSigningRequestCondition, now metav1.Time) []certificatesv1.CertificateSigningRequestCondition {
	lacks := func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.LastUpdateTime.IsZero() || c.LastTransitionTime.IsZero()
	}
	if !slices.ContainsFunc(list, lacks) {
		return list
	}
	list = slices.Clone(list) // it may be shared with the old object
	for i := range list {
		c := &list[i]
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if !c.LastTransitionTime.IsZero() {
			continue
		}
		c.LastTransitionTime = now
		for j := range old {
			if o := &old[j]; o.Type == c.Type && o.Status == c.Status && !o.LastTransitionTime.IsZero() {
				c.LastTransitionTime = o.LastTransitionTime
				break
			}
		}
	}
	return list
}
