// Package replicationcontroller keeps as many pods as a ReplicationController
// asks for, with the engine of ReplicaSets.
package replicationcontroller

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"clipper/internal/controller"
	"clipper/internal/controller/replicaset"
)

// Config is what the controller is built from.
type Config = controller.Config

// New returns the controller of ReplicationControllers; Run starts it.
func New(c Config) *replicaset.Engine {
	rcs := c.Informers.Core().V1().ReplicationControllers()
	return replicaset.NewEngine(c, &kind{client: c.Client, informer: rcs.Informer(), lister: rcs.Lister()})
}

type kind struct {
	client   kubernetes.Interface
	informer cache.SharedIndexInformer
	lister   corelisters.ReplicationControllerLister
}

func (*kind) Name() string { return "replication-controller" }

func (*kind) GroupVersionKind() schema.GroupVersionKind {
	return corev1.SchemeGroupVersion.WithKind("ReplicationController")
}

func (k *kind) Informer() cache.SharedIndexInformer { return k.informer }

func (k *kind) Cached(key controller.Key) (*replicaset.Set, error) {
	rc, err := k.lister.ReplicationControllers(key.Namespace).Get(key.Name)
	if err != nil {
		return nil, err
	}
	set := &replicaset.Set{
		Owner: rc, Selector: labels.SelectorFromSet(rc.Spec.Selector), Template: rc.Spec.Template, Replicas: 1,
		MinReadySeconds: rc.Spec.MinReadySeconds,
		Status: appsv1.ReplicaSetStatus{
			Replicas: rc.Status.Replicas, FullyLabeledReplicas: rc.Status.FullyLabeledReplicas,
			ReadyReplicas: rc.Status.ReadyReplicas, AvailableReplicas: rc.Status.AvailableReplicas,
			ObservedGeneration: rc.Status.ObservedGeneration,
		},
	}
	if set.Template == nil {
		set.Template = &corev1.PodTemplateSpec{}
	}
	if rc.Spec.Replicas != nil {
		set.Replicas = *rc.Spec.Replicas
	}
	for _, c := range rc.Status.Conditions {
		set.Status.Conditions = append(set.Status.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return set, nil
}

func (k *kind) Selecting(p *corev1.Pod) (keys []controller.Key) {
	all, _ := k.lister.ReplicationControllers(p.Namespace).List(labels.Everything())
	for _, rc := range all {
		if len(rc.Spec.Selector) > 0 && labels.SelectorFromSet(rc.Spec.Selector).Matches(labels.Set(p.Labels)) {
			keys = append(keys, controller.KeyOf(rc))
		}
	}
	return keys
}

func (k *kind) Peers(s *replicaset.Set) []types.UID { return []types.UID{s.GetUID()} }

func (k *kind) Live(ctx context.Context, key controller.Key) (metav1.Object, error) {
	return k.client.CoreV1().ReplicationControllers(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
}

func (k *kind) WriteStatus(ctx context.Context, s *replicaset.Set, status appsv1.ReplicaSetStatus) error {
	rc := *s.Owner.(*corev1.ReplicationController)
	rc.Status = corev1.ReplicationControllerStatus{
		Replicas: status.Replicas, FullyLabeledReplicas: status.FullyLabeledReplicas,
		ReadyReplicas: status.ReadyReplicas, AvailableReplicas: status.AvailableReplicas,
		ObservedGeneration: status.ObservedGeneration,
	}
	for _, c := range status.Conditions {
		rc.Status.Conditions = append(rc.Status.Conditions, corev1.ReplicationControllerCondition{
			Type: corev1.ReplicationControllerConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	_, err := k.client.CoreV1().ReplicationControllers(rc.Namespace).UpdateStatus(ctx, &rc, metav1.UpdateOptions{})
	return err
}
