package validate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func containerProbes(e *problems, p *pod, c *corev1.Container, at *field.Path) {
	if c.LivenessProbe != nil {
		at := at.Child("livenessProbe")
		probe(e, p, c.LivenessProbe, at)
		once(e, c.LivenessProbe, at)
	}
	if c.ReadinessProbe != nil {
		at := at.Child("readinessProbe")
		probe(e, p, c.ReadinessProbe, at)
		if g := c.ReadinessProbe.TerminationGracePeriodSeconds; g != nil {
			e.invalid(at.Child("terminationGracePeriodSeconds"), *g, "must not be set for readinessProbes")
		}
	}
	if c.StartupProbe != nil {
		at := at.Child("startupProbe")
		probe(e, p, c.StartupProbe, at)
		once(e, c.StartupProbe, at)
	}
}

// once checks that a single success suffices.
func once(e *problems, p *corev1.Probe, at *field.Path) {
	if p.SuccessThreshold != 1 {
		e.invalid(at.Child("successThreshold"), p.SuccessThreshold, "must be 1")
	}
}

func probe(e *problems, p *pod, b *corev1.Probe, at *field.Path) {
	handler(e, p, &corev1.LifecycleHandler{Exec: b.Exec, HTTPGet: b.HTTPGet, TCPSocket: b.TCPSocket}, b.GRPC, at)
	e.notNegative(at, "initialDelaySeconds", int64(b.InitialDelaySeconds))
	e.notNegative(at, "timeoutSeconds", int64(b.TimeoutSeconds))
	e.notNegative(at, "periodSeconds", int64(b.PeriodSeconds))
	e.notNegative(at, "successThreshold", int64(b.SuccessThreshold))
	e.notNegative(at, "failureThreshold", int64(b.FailureThreshold))
	if g := b.TerminationGracePeriodSeconds; g != nil && *g <= 0 {
		e.invalid(at.Child("terminationGracePeriodSeconds"), *g, "must be greater than 0")
	}
}

func lifecycle(e *problems, p *pod, l *corev1.Lifecycle, at *field.Path) {
	if l == nil {
		return
	}
	if l.PostStart != nil {
		handler(e, p, l.PostStart, nil, at.Child("postStart"))
	}
	if l.PreStop != nil {
		handler(e, p, l.PreStop, nil, at.Child("preStop"))
	}
}

func handler(e *problems, p *pod, h *corev1.LifecycleHandler, g *corev1.GRPCAction, at *field.Path) {
	n := 0
	// first tells whether no other handler came before.
	first := func(name string) bool {
		if n++; n > 1 {
			e.forbidden(at.Child(name), "may not specify more than 1 handler type")
		}
		return n == 1
	}
	if h.Exec != nil && first("exec") && len(h.Exec.Command) == 0 {
		e.required(at.Child("exec", "command"), "")
	}
	if h.HTTPGet != nil && first("httpGet") {
		httpGet(e, h.HTTPGet, at.Child("httpGet"))
	}
	if h.TCPSocket != nil && first("tcpSocket") {
		port(e, h.TCPSocket.Port, at.Child("tcpSocket", "port"))
	}
	if g != nil && first("grpc") {
		portNumber(e, at.Child("grpc"), "port", g.Port)
	}
	if h.Sleep != nil && first("sleep") {
		if s := h.Sleep.Seconds; s < 0 || s > p.grace {
			e.invalid(at.Child("sleep"), s, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", p.grace))
		}
	}
	if n == 0 {
		e.required(at, "must specify a handler type")
	}
}

func httpGet(e *problems, g *corev1.HTTPGetAction, at *field.Path) {
	e.given(at, "path", g.Path)
	port(e, g.Port, at.Child("port"))
	oneOf(e, at, "scheme", g.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)
	for _, h := range g.HTTPHeaders {
		if texts := validation.IsHTTPHeaderName(h.Name); len(texts) > 0 {
			e.texts(at.Child("httpHeaders"), h.Name, texts)
		}
	}
}
