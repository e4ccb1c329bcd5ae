package connect

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var pods = schema.GroupResource{Resource: "pods"} // never changed

func (k *Connector) pod(c *Request) (*corev1.Pod, error) {
	if pod, ok := c.Object.(*corev1.Pod); ok {
		return pod, nil
	}
	pod, ok := k.Objects.Object(pods, c.Namespace, c.Name).(*corev1.Pod)
	if !ok {
		return nil, apierrors.NewNotFound(pods, c.Name)
	}
	return pod, nil
}

// host finds the kubelet that runs a pod.
func (k *Connector) host(pod *corev1.Pod) (kubelet, error) {
	if pod.Spec.NodeName == "" {
		return kubelet{}, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	return k.locate(pod.Spec.NodeName)
}

// container returns the container that is meant: the one that is named, or
// the only one there is.
func container(pod *corev1.Pod, name string) (string, error) {
	names, inits, ephemerals := containerNames(pod)
	if name == "" {
		switch len(names) {
		case 1:
			return names[0], nil
		case 0:
			return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", pod.Name))
		}
		text := fmt.Sprintf("a container name must be specified for pod %s, choose one of: [%s]", pod.Name, strings.Join(names, " "))
		if len(inits) > 0 {
			text += fmt.Sprintf(" or one of the init containers: [%s]", strings.Join(inits, " "))
		}
		if len(ephemerals) > 0 {
			text += fmt.Sprintf(" or one of the ephemeral containers: [%s]", strings.Join(ephemerals, " "))
		}
		return "", apierrors.NewBadRequest(text)
	}
	for _, list := range [][]string{names, inits, ephemerals} {
		for _, have := range list {
			if have == name {
				return name, nil
			}
		}
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
}

func containerNames(pod *corev1.Pod) (names, inits, ephemerals []string) {
	for i := range pod.Spec.Containers {
		names = append(names, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.InitContainers {
		inits = append(inits, pod.Spec.InitContainers[i].Name)
	}
	for i := range pod.Spec.EphemeralContainers {
		ephemerals = append(ephemerals, pod.Spec.EphemeralContainers[i].Name)
	}
	return names, inits, ephemerals
}

// truth reads a boolean parameter as upstream does: present is true, unless it
// says otherwise.
func truth(values []string) bool {
	if len(values) == 0 {
		return false
	}
	switch strings.ToLower(values[0]) {
	case "false", "0":
		return false
	}
	return true
}
