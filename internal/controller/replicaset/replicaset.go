package replicaset

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// New returns the controller of ReplicaSets; Run starts it.
func New(c Config) *Engine {
	sets := c.Informers.Apps().V1().ReplicaSets()
	return NewEngine(c, &replicaSets{
		client: c.Client, informer: sets.Informer(), lister: sets.Lister(),
		index: controller.IndexByOwner(sets.Informer()),
	})
}

// replicaSets is the Kind of ReplicaSets.
type replicaSets struct {
	client   kubernetes.Interface
	informer cache.SharedIndexInformer
	lister   appslisters.ReplicaSetLister
	index    cache.Indexer
}

func (*replicaSets) Name() string { return "replicaset-controller" }

func (*replicaSets) GroupVersionKind() schema.GroupVersionKind {
	return appsv1.SchemeGroupVersion.WithKind("ReplicaSet")
}

func (k *replicaSets) Informer() cache.SharedIndexInformer { return k.informer }

func (k *replicaSets) Cached(key controller.Key) (*Set, error) {
	rs, err := k.lister.ReplicaSets(key.Namespace).Get(key.Name)
	if err != nil {
		return nil, err
	}
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return nil, err
	}
	set := &Set{
		Owner: rs, Selector: selector, Template: &rs.Spec.Template, Replicas: 1,
		MinReadySeconds: rs.Spec.MinReadySeconds, Status: rs.Status, Terminating: true,
	}
	if rs.Spec.Replicas != nil {
		set.Replicas = *rs.Spec.Replicas
	}
	return set, nil
}

func (k *replicaSets) Selecting(p *corev1.Pod) (keys []controller.Key) {
	all, _ := k.lister.ReplicaSets(p.Namespace).List(labels.Everything())
	for _, rs := range all {
		// An invalid selector selects nothing; neither does an empty one.
		s, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
		if err == nil && !s.Empty() && s.Matches(labels.Set(p.Labels)) {
			keys = append(keys, controller.KeyOf(rs))
		}
	}
	return keys
}

func (k *replicaSets) Peers(s *Set) []types.UID {
	ref := metav1.GetControllerOfNoCopy(s)
	if ref == nil {
		return []types.UID{s.GetUID()}
	}
	var uids []types.UID
	for _, rs := range controller.Owned[appsv1.ReplicaSet](k.index, ref.UID) {
		uids = append(uids, rs.UID)
	}
	return uids
}

func (k *replicaSets) Live(ctx context.Context, key controller.Key) (metav1.Object, error) {
	return k.client.AppsV1().ReplicaSets(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
}

func (k *replicaSets) WriteStatus(ctx context.Context, s *Set, status appsv1.ReplicaSetStatus) error {
	rs := *s.Owner.(*appsv1.ReplicaSet)
	rs.Status = status
	_, err := k.client.AppsV1().ReplicaSets(rs.Namespace).UpdateStatus(ctx, &rs, metav1.UpdateOptions{})
	return err
}
