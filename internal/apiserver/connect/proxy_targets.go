package connect

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	services       = schema.GroupResource{Resource: "services"} // never changed
	endpointSlices = schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}
)

func (k *Connector) proxyPod(w http.ResponseWriter, r *http.Request, c *Request) error {
	scheme, name, port, ok := splitName(c.Name)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", c.Name))
	}
	pod, ok := k.Objects.Object(pods, c.Namespace, name).(*corev1.Pod)
	if !ok {
		return apierrors.NewNotFound(pods, name)
	}
	if port == "" {
		port = firstPort(pod)
	}
	if pod.Status.PodIP == "" {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("pod %q has no address yet", name))
	}
	ip, err := proxyable(pod.Status.PodIP)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid port %q", port))
	}
	return k.proxy(w, r, c, k.plain(scheme, net.JoinHostPort(ip.String(), port)))
}

// firstPort returns the first port that a pod's containers tell, or 80.
func firstPort(pod *corev1.Pod) string {
	for i := range pod.Spec.Containers {
		for _, p := range pod.Spec.Containers[i].Ports {
			return strconv.Itoa(int(p.ContainerPort))
		}
	}
	return "80"
}

func (k *Connector) proxyService(w http.ResponseWriter, r *http.Request, c *Request) error {
	scheme, name, port, ok := splitName(c.Name)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", c.Name))
	}
	service, ok := k.Objects.Object(services, c.Namespace, name).(*corev1.Service)
	if !ok {
		return apierrors.NewNotFound(services, name)
	}
	// Ports of endpoints are known by name only.
	if number, err := strconv.ParseInt(port, 10, 32); err == nil {
		found := false
		for _, p := range service.Spec.Ports {
			if int64(p.Port) == number {
				port, found = p.Name, true
				break
			}
		}
		if !found {
			return apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", number, name))
		}
	}
	hosts := k.endpoints(c.Namespace, name, port)
	if len(hosts) == 0 {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", c.Name))
	}
	return k.proxy(w, r, c, k.plain(scheme, hosts[rand.IntN(len(hosts))]))
}

// endpoints returns where a Service's port is served: at ready pods of its own
// namespace. An endpoint that names no pod, or whose pod has another address,
// could be anything, written by anyone who may write endpoints.
func (k *Connector) endpoints(namespace, service, port string) []string {
	var hosts []string
	for _, o := range k.Objects.Objects(endpointSlices, namespace) {
		slice, ok := o.(*discoveryv1.EndpointSlice)
		if !ok || slice.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		for _, p := range slice.Ports {
			if p.Port == nil || deref(p.Name) != port || p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
				continue
			}
			for i := range slice.Endpoints {
				e := &slice.Endpoints[i]
				if e.Conditions.Ready != nil && !*e.Conditions.Ready || !k.podHas(e, namespace) {
					continue
				}
				for _, address := range e.Addresses {
					if ip, err := proxyable(address); err == nil {
						hosts = append(hosts, net.JoinHostPort(ip.String(), strconv.Itoa(int(*p.Port))))
					}
				}
			}
		}
	}
	return hosts
}

func (k *Connector) podHas(e *discoveryv1.Endpoint, namespace string) bool {
	ref := e.TargetRef
	if ref == nil || ref.Kind != "Pod" || ref.Namespace != namespace || len(e.Addresses) == 0 {
		return false
	}
	pod, ok := k.Objects.Object(pods, namespace, ref.Name).(*corev1.Pod)
	if !ok {
		return false
	}
	for _, address := range e.Addresses {
		found := false
		for _, ip := range pod.Status.PodIPs {
			found = found || ip.IP == address
		}
		if !found && pod.Status.PodIP != address {
			return false
		}
	}
	return true
}

func (k *Connector) proxyNode(w http.ResponseWriter, r *http.Request, c *Request) error {
	scheme, name, port, ok := splitName(c.Name)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid node request %q", c.Name))
	}
	l, err := k.locate(name)
	if err != nil {
		return err
	}
	host, kubeletPort, err := net.SplitHostPort(l.address)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if port == "" || port == kubeletPort {
		return k.proxy(w, r, c, backend{scheme: "https", host: l.node, transport: k.kubelets, kubelet: &l, dial: k.kubeletDialer(l)})
	}
	ip, err := proxyable(host)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid port %q", port))
	}
	return k.proxy(w, r, c, k.plain(scheme, net.JoinHostPort(ip.String(), port)))
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
