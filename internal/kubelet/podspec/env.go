package podspec

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"clipper/internal/kubelet/downward"
)

// Sources gives the objects that env variables may come from. A missing one is
// a NotFound error.
type Sources interface {
	ConfigMap(namespace, name string) (*v1.ConfigMap, error)
	Secret(namespace, name string) (*v1.Secret, error)
}

// Var is one environment variable.
type Var struct{ Name, Value string }

// environment keeps variables in order of first appearance; a later value of
// the same name wins.
type environment struct {
	list  []Var
	index map[string]int
	left  room
}

func (e *environment) set(name, value string) {
	if i, ok := e.index[name]; ok {
		e.list[i].Value = value
		e.left -= room(len(value))
		return
	}
	e.index[name] = len(e.list)
	e.list = append(e.list, Var{name, value})
	e.left -= room(len(name) + len(value))
}

func (e *environment) get(name string) (string, bool) {
	i, ok := e.index[name]
	if !ok {
		return "", false
	}
	return e.list[i].Value, true
}

// Env returns the variables of a container. The pod must carry its addresses.
// services are those the pod may be told of; the container's own variables win
// over envFrom, which win over services.
func (n *Node) Env(pod *v1.Pod, c *v1.Container, services []*v1.Service, from Sources) ([]Var, error) {
	e := &environment{index: map[string]int{}, left: maxArguments}
	serviceEnv(e, pod, services)
	for i := range c.EnvFrom {
		if err := envFrom(e, pod, &c.EnvFrom[i], from); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		v := &c.Env[i]
		var value string
		var ok bool
		var err error
		if v.ValueFrom == nil {
			value, err = expand(v.Value, e.get, &e.left)
			ok = true
		} else {
			value, ok, err = n.valueFrom(pod, c, v.ValueFrom, from)
		}
		if err == nil && ok {
			e.set(v.Name, value)
			err = e.left.take(0)
		}
		if err != nil {
			return nil, err
		}
	}
	return e.list, nil
}

func (n *Node) valueFrom(pod *v1.Pod, c *v1.Container, s *v1.EnvVarSource, from Sources) (value string, ok bool, err error) {
	switch {
	case s.FieldRef != nil:
		value, err = downward.Field(pod, s.FieldRef.FieldPath)
		return value, err == nil, err
	case s.ResourceFieldRef != nil:
		value, err = downward.Resource(pod, s.ResourceFieldRef, c.Name, n.Allocatable)
		return value, err == nil, err
	case s.ConfigMapKeyRef != nil:
		r := s.ConfigMapKeyRef
		optional := r.Optional != nil && *r.Optional
		m, err := from.ConfigMap(pod.Namespace, r.Name)
		if err != nil {
			if apierrors.IsNotFound(err) && optional {
				return "", false, nil
			}
			return "", false, err
		}
		if v, ok := m.Data[r.Key]; ok {
			return v, true, nil
		}
		if optional {
			return "", false, nil
		}
		return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", r.Key, pod.Namespace, r.Name)
	case s.SecretKeyRef != nil:
		r := s.SecretKeyRef
		optional := r.Optional != nil && *r.Optional
		m, err := from.Secret(pod.Namespace, r.Name)
		if err != nil {
			if apierrors.IsNotFound(err) && optional {
				return "", false, nil
			}
			return "", false, err
		}
		if v, ok := m.Data[r.Key]; ok {
			return string(v), true, nil
		}
		if optional {
			return "", false, nil
		}
		return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", r.Key, pod.Namespace, r.Name)
	}
	return "", false, nil
}

func envFrom(e *environment, pod *v1.Pod, s *v1.EnvFromSource, from Sources) error {
	switch {
	case s.ConfigMapRef != nil:
		m, err := from.ConfigMap(pod.Namespace, s.ConfigMapRef.Name)
		if err != nil {
			if apierrors.IsNotFound(err) && s.ConfigMapRef.Optional != nil && *s.ConfigMapRef.Optional {
				return nil
			}
			return err
		}
		for _, k := range slices.Sorted(maps.Keys(m.Data)) {
			if name := s.Prefix + k; validName(name) {
				e.set(name, m.Data[k])
			}
		}
	case s.SecretRef != nil:
		m, err := from.Secret(pod.Namespace, s.SecretRef.Name)
		if err != nil {
			if apierrors.IsNotFound(err) && s.SecretRef.Optional != nil && *s.SecretRef.Optional {
				return nil
			}
			return err
		}
		for _, k := range slices.Sorted(maps.Keys(m.Data)) {
			if name := s.Prefix + k; validName(name) {
				e.set(name, string(m.Data[k]))
			}
		}
	}
	return e.left.take(0)
}

// validName: printable ASCII without "=" (KEP-4369).
func validName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == '=' {
			return false
		}
	}
	return name != ""
}

// serviceEnv adds what a pod is told of services: all of its namespace unless
// it opted out, and always the API server's.
func serviceEnv(e *environment, pod *v1.Pod, services []*v1.Service) {
	links := pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks
	api := func(s *v1.Service) bool {
		return s.Namespace == v1.NamespaceDefault && s.Name == "kubernetes"
	}
	own := false
	for _, s := range services {
		own = own || links && s.Namespace == pod.Namespace && s.Name == "kubernetes"
	}
	for _, s := range services {
		switch {
		case s.Spec.ClusterIP == "" || s.Spec.ClusterIP == v1.ClusterIPNone:
			continue
		case links && s.Namespace == pod.Namespace:
		case api(s) && !own:
		default:
			continue
		}
		if len(s.Spec.Ports) == 0 {
			continue
		}
		prefix := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
		ip := s.Spec.ClusterIP
		e.set(prefix+"_SERVICE_HOST", ip)
		e.set(prefix+"_SERVICE_PORT", strconv.Itoa(int(s.Spec.Ports[0].Port)))
		for _, p := range s.Spec.Ports {
			if p.Name != "" {
				e.set(prefix+"_SERVICE_PORT_"+strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")), strconv.Itoa(int(p.Port)))
			}
		}
		for i, p := range s.Spec.Ports {
			proto, port := string(p.Protocol), strconv.Itoa(int(p.Port))
			if proto == "" {
				proto = "TCP"
			}
			url := strings.ToLower(proto) + "://" + net.JoinHostPort(ip, port)
			if i == 0 {
				e.set(prefix+"_PORT", url)
			}
			portPrefix := prefix + "_PORT_" + port + "_" + strings.ToUpper(proto)
			e.set(portPrefix, url)
			e.set(portPrefix+"_PROTO", strings.ToLower(proto))
			e.set(portPrefix+"_PORT", port)
			e.set(portPrefix+"_ADDR", ip)
		}
	}
}
