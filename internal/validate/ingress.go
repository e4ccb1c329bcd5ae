package validate

import (
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// ingressClassAnnotation is the older way to name a class.
const ingressClassAnnotation = "kubernetes.io/ingress.class"

var ingressRules = &rules{ // never changed
	create: rule(func(e *problems, in *networkingv1.Ingress) {
		class, ok := in.Annotations[ingressClassAnnotation]
		if n := in.Spec.IngressClassName; ok && n != nil && class != *n {
			e.invalid(field.NewPath("annotations", ingressClassAnnotation), class, "must match `ingressClassName` when both are specified")
		}
		ingress(e, in)
	}),
	update: same(ingress),
	subresources: subresources{"status": same(func(e *problems, in *networkingv1.Ingress) {
		for i, l := range in.Status.LoadBalancer.Ingress {
			at := statusPath.Child("loadBalancer", "ingress").Index(i)
			if l.IP != "" {
				e.all(e.ip(at.Child("ip"), l.IP))
				e.warnIP(at, l.IP)
			}
			if l.Hostname != "" {
				e.check(at, "hostname", l.Hostname, dnsSubdomain)
				if netutils.ParseIPSloppy(l.Hostname) != nil {
					e.invalid(at.Child("hostname"), l.Hostname, "must be a DNS name, not an IP address")
				}
			}
		}
	})},
	warnings: warning(func(in, _ *networkingv1.Ingress) []string {
		if _, ok := in.Annotations[ingressClassAnnotation]; ok {
			return []string{fmt.Sprintf("annotation %q is deprecated, please use 'spec.ingressClassName' instead", ingressClassAnnotation)}
		}
		return nil
	}),
}

func ingress(e *problems, in *networkingv1.Ingress) {
	s := &in.Spec
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		e.invalid(specPath, s.Rules, "either `defaultBackend` or `rules` must be specified")
	}
	if s.DefaultBackend != nil {
		ingressBackend(e, s.DefaultBackend, specPath.Child("defaultBackend"))
	}
	for i := range s.Rules {
		r, at := &s.Rules[i], specPath.Child("rules").Index(i)
		ingressHost(e, r.Host, at.Child("host"))
		if r.HTTP == nil {
			continue
		}
		at = at.Child("http", "paths")
		if len(r.HTTP.Paths) == 0 {
			e.required(at, "")
		}
		for j := range r.HTTP.Paths {
			ingressPath(e, &r.HTTP.Paths[j], at.Index(j))
		}
	}
	for i := range s.TLS {
		at := specPath.Child("tls").Index(i)
		for j, h := range s.TLS[i].Hosts {
			if strings.Contains(h, "*") {
				e.texts(at.Child("hosts").Index(j), h, validation.IsWildcardDNS1123Subdomain(h))
			} else {
				e.texts(at.Child("hosts").Index(j), h, dnsSubdomain(h))
			}
		}
		if n := s.TLS[i].SecretName; n != "" {
			e.check(at, "secretName", n, dnsSubdomain)
		}
	}
	if n := s.IngressClassName; n != nil {
		e.check(specPath, "ingressClassName", *n, dnsSubdomain)
	}
}

func ingressHost(e *problems, host string, at *field.Path) {
	if host == "" {
		return
	}
	if netutils.ParseIPSloppy(host) != nil {
		e.invalid(at, host, "must be a DNS name, not an IP address")
	}
	if strings.Contains(host, "*") {
		e.texts(at, host, validation.IsWildcardDNS1123Subdomain(host))
		return
	}
	e.texts(at, host, dnsSubdomain(host))
}

// What no path may have within or at its end: it would not be what it seems.
var (
	badInPath    = []string{"//", "/./", "/../", "%2f", "%2F"} // never changed
	badAtPathEnd = []string{"/..", "/."}                       // never changed
)

func ingressPath(e *problems, p *networkingv1.HTTPIngressPath, at *field.Path) {
	path := at.Child("path")
	switch {
	case p.PathType == nil:
		e.required(at.Child("pathType"), "pathType must be specified")
		return
	case *p.PathType == networkingv1.PathTypeExact || *p.PathType == networkingv1.PathTypePrefix:
		if !strings.HasPrefix(p.Path, "/") {
			e.invalid(path, p.Path, "must be an absolute path")
		}
		for _, bad := range badInPath {
			if strings.Contains(p.Path, bad) {
				e.invalid(path, p.Path, fmt.Sprintf("must not contain '%s'", bad))
			}
		}
		for _, bad := range badAtPathEnd {
			if strings.HasSuffix(p.Path, bad) {
				e.invalid(path, p.Path, fmt.Sprintf("cannot end with '%s'", bad))
			}
		}
	case *p.PathType == networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" && !strings.HasPrefix(p.Path, "/") {
			e.invalid(path, p.Path, "must be an absolute path")
		}
	default:
		oneOf(e, at, "pathType", *p.PathType, networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix)
	}
	ingressBackend(e, &p.Backend, at.Child("backend"))
}

// localReference judges what names an object of any kind.
func localReference(e *problems, group *string, kind, name string, at *field.Path) {
	if group != nil {
		e.check(at, "apiGroup", *group, dnsSubdomain)
	}
	e.checked(at, "kind", kind, path.IsValidPathSegmentName)
	e.checked(at, "name", name, path.IsValidPathSegmentName)
}

func ingressBackend(e *problems, b *networkingv1.IngressBackend, at *field.Path) {
	switch {
	case b.Resource != nil && b.Service != nil:
		e.invalid(at, "", "cannot set both resource and service backends")
	case b.Resource != nil:
		localReference(e, b.Resource.APIGroup, b.Resource.Kind, b.Resource.Name, at.Child("resource"))
	case b.Service != nil:
		service, p := at.Child("service"), b.Service.Port
		e.checked(service, "name", b.Service.Name, dnsLabel)
		switch port := service.Child("port"); {
		case p.Name != "" && p.Number != 0:
			e.invalid(at, "", "cannot set both port name & port number")
		case p.Name != "":
			e.check(port, "name", p.Name, validation.IsValidPortName)
		case p.Number != 0:
			portNumber(e, port, "number", p.Number)
		default:
			e.required(at, "port name or number is required")
		}
	default:
		e.invalid(at, "", "resource or service backend is required")
	}
}
