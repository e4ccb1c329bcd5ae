package strategy

import (
	"reflect"

	certificatesv1 "k8s.io/api/certificates/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func networking() map[string]*Strategy {
	return map[string]*Strategy{
		"ingresses": halves(
			func(i *networkingv1.Ingress) *networkingv1.IngressSpec { return &i.Spec },
			func(i *networkingv1.Ingress) *networkingv1.IngressStatus { return &i.Status },
			true, nil),
		"ingressclasses": specOnly(func(c *networkingv1.IngressClass) *networkingv1.IngressClassSpec { return &c.Spec }),
		"networkpolicies": exactly(func(p *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicySpec {
			return &p.Spec
		}),
		"servicecidrs": halves(
			func(c *networkingv1.ServiceCIDR) *networkingv1.ServiceCIDRSpec { return &c.Spec },
			func(c *networkingv1.ServiceCIDR) *networkingv1.ServiceCIDRStatus { return &c.Status },
			false, nil),
	}
}

func policy() map[string]*Strategy {
	s := halves(
		func(p *policyv1.PodDisruptionBudget) *policyv1.PodDisruptionBudgetSpec { return &p.Spec },
		func(p *policyv1.PodDisruptionBudget) *policyv1.PodDisruptionBudgetStatus { return &p.Status },
		true, nil)
	return map[string]*Strategy{"poddisruptionbudgets": s}
}

func storage() map[string]*Strategy {
	return map[string]*Strategy{
		"csidrivers": csiDriver(),
		"volumeattachments": halves(
			func(v *storagev1.VolumeAttachment) *storagev1.VolumeAttachmentSpec { return &v.Spec },
			func(v *storagev1.VolumeAttachment) *storagev1.VolumeAttachmentStatus { return &v.Status },
			false, nil),
	}
}

// csiDriver counts the changes of a driver, of which a new one has none.
func csiDriver() *Strategy {
	return &Strategy{Update: func(o, was runtime.Object) {
		if d, old := o.(*storagev1.CSIDriver), was.(*storagev1.CSIDriver); !same(&d.Spec, &old.Spec) {
			d.Generation = old.Generation + 1
		}
	}}
}

func rbac() map[string]*Strategy {
	return map[string]*Strategy{
		"roles":               {CreateOnUpdate: true},
		"rolebindings":        {CreateOnUpdate: true},
		"clusterroles":        {CreateOnUpdate: true},
		"clusterrolebindings": {CreateOnUpdate: true},
	}
}

// specOnly is a kind without status whose generation counts its specs.
func specOnly[T, S any, PT object[T], PS marshaler[S]](spec func(PT) *S) *Strategy {
	return &Strategy{
		Create: firstGeneration,
		Update: func(o, was runtime.Object) {
			obj, old := o.(PT), was.(PT)
			if !same(PS(spec(obj)), PS(spec(old))) {
				obj.SetGeneration(old.GetGeneration() + 1)
			}
		},
	}
}

// exactly is specOnly of kinds where a list that is empty is another than none.
func exactly[T, S any, PT object[T], PS marshaler[S]](spec func(PT) *S) *Strategy {
	return with(specOnly[T, S, PT, PS](spec), func(s *Strategy) {
		s.Update = func(o, was runtime.Object) {
			obj, old := o.(PT), was.(PT)
			if !reflect.DeepEqual(spec(obj), spec(old)) {
				obj.SetGeneration(old.GetGeneration() + 1)
			}
		}
	})
}

func endpointSlice() *Strategy {
	// All of a slice but its metadata is its content.
	content := func(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{AddressType: s.AddressType, Endpoints: s.Endpoints, Ports: s.Ports}
	}
	return &Strategy{
		Create: func(o runtime.Object) {
			firstGeneration(o)
			dropTopology(o.(*discoveryv1.EndpointSlice))
		},
		Update: func(o, was runtime.Object) {
			obj, old := o.(*discoveryv1.EndpointSlice), was.(*discoveryv1.EndpointSlice)
			if !same(content(obj), content(old)) {
				obj.Generation = old.Generation + 1
			}
			dropTopology(obj)
		},
	}
}

// dropTopology leaves out what v1 has no more.
func dropTopology(s *discoveryv1.EndpointSlice) {
	for i := range s.Endpoints {
		s.Endpoints[i].DeprecatedTopology = nil
	}
}

// What a priority class is never changes.
// The classes of the system's own pods last.
func priorityClass() *Strategy {
	return &Strategy{Create: firstGeneration, Lasting: func(name string) string {
		if name == "system-node-critical" || name == "system-cluster-critical" {
			return "this is a system priority class and cannot be deleted"
		}
		return ""
	}}
}

// A signing request's spec never changes; who asked and when it was
// answered is stamped on it by the API server; approval and status each write their own part of the status.
func certificateSigningRequest() *Strategy {
	return &Strategy{
		Create: func(o runtime.Object) {
			o.(*certificatesv1.CertificateSigningRequest).Status = certificatesv1.CertificateSigningRequestStatus{}
		},
		Update: func(o, was runtime.Object) {
			obj, old := o.(*certificatesv1.CertificateSigningRequest), was.(*certificatesv1.CertificateSigningRequest)
			obj.Spec, obj.Status = old.Spec, old.Status
		},
		Sub: map[string]func(obj, old runtime.Object){
			"status": func(o, was runtime.Object) {
				obj, old := o.(*certificatesv1.CertificateSigningRequest), was.(*certificatesv1.CertificateSigningRequest)
				obj.Spec = old.Spec
				keepDecision(obj.Status.Conditions, old.Status.Conditions)
			},
			"approval": func(o, was runtime.Object) {
				obj, old := o.(*certificatesv1.CertificateSigningRequest), was.(*certificatesv1.CertificateSigningRequest)
				obj.Spec = old.Spec
				obj.Status.Certificate = old.Status.Certificate
			},
		},
	}
}

// keepDecision lets a status write change nothing of an approval or a denial.
// To add one or to take it away is refused later.
func keepDecision(wanted, old []certificatesv1.CertificateSigningRequestCondition) {
	for i := range wanted {
		if t := wanted[i].Type; t != certificatesv1.CertificateApproved && t != certificatesv1.CertificateDenied {
			continue
		}
		for j := range old {
			if old[j].Type == wanted[i].Type {
				wanted[i] = old[j]
			}
		}
	}
}
