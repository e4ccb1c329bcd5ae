package scheme

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// subresourceKinds are the kinds that have no resource of their own.
func subresourceKinds() map[schema.GroupVersionKind]func() runtime.Object {
	m := make(map[schema.GroupVersionKind]func() runtime.Object, 16)
	add := func(gvk schema.GroupVersionKind, f func() runtime.Object) { m[gvk] = f }
	add(typed[autoscalingv1.Scale](scaleKind))
	add(typed[policyv1.Eviction](evictionKind))
	add(typed[authenticationv1.TokenRequest](tokenRequestKind))
	add(typed[corev1.PodAttachOptions](coreKind("PodAttachOptions")))
	add(typed[corev1.PodExecOptions](coreKind("PodExecOptions")))
	add(typed[corev1.PodLogOptions](coreKind("PodLogOptions")))
	add(typed[corev1.PodPortForwardOptions](coreKind("PodPortForwardOptions")))
	add(typed[corev1.PodProxyOptions](coreKind("PodProxyOptions")))
	add(typed[corev1.NodeProxyOptions](coreKind("NodeProxyOptions")))
	add(typed[corev1.ServiceProxyOptions](coreKind("ServiceProxyOptions")))
	add(typed[metav1.Status](metaKind("Status")))
	add(typed[metav1.DeleteOptions](metaKind("DeleteOptions")))
	return m
}
