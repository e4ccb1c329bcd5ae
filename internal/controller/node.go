package controller

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// byNode is the index of pods by the node they are bound to, "" for none.
const byNode = "node"

// IndexByNode adds the index that PodsOn reads.
func IndexByNode(pods cache.SharedIndexInformer) cache.Indexer {
	if _, there := pods.GetIndexer().GetIndexers()[byNode]; !there {
		err := pods.AddIndexers(cache.Indexers{byNode: func(obj any) ([]string, error) {
			p, ok := obj.(*corev1.Pod)
			if !ok {
				return nil, fmt.Errorf("%T is no pod", obj)
			}
			return []string{p.Spec.NodeName}, nil
		}})
		if err != nil {
			panic(fmt.Sprintf("index by node: %v", err)) // the informer has been stopped
		}
	}
	return pods.GetIndexer()
}

// PodsOn returns the pods bound to a node.
func PodsOn(index cache.Indexer, node string) []*corev1.Pod {
	objs, err := index.ByIndex(byNode, node)
	if err != nil {
		panic(fmt.Sprintf("index by node: %v", err)) // IndexByNode was not called
	}
	out := make([]*corev1.Pod, 0, len(objs))
	for _, o := range objs {
		if p, ok := o.(*corev1.Pod); ok {
			out = append(out, p)
		}
	}
	return out
}

// NodeCondition returns the node's condition, or nil.
func NodeCondition(n *corev1.Node, kind corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == kind {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

// Disrupt notes in a pod's status that it is about to be deleted, and why
// (KEP-3329); with fail the pod counts as failed from then on.
func Disrupt(ctx context.Context, c kubernetes.Interface, p *corev1.Pod, reason, message string, fail bool, now metav1.Time) error {
	status := map[string]any{}
	if is := PodCondition(p, corev1.DisruptionTarget); is == nil || is.Status != corev1.ConditionTrue || is.Reason != reason {
		status["conditions"] = []corev1.PodCondition{{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message,
			LastTransitionTime: now, ObservedGeneration: p.Generation,
		}}
	}
	if fail && !PodEnded(p) {
		status["phase"] = corev1.PodFailed
	}
	if len(status) == 0 {
		return nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID}, "status": status})
	if err != nil {
		return err
	}
	_, err = c.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	return GoneOrChanged(err)
}

// ForceDelete deletes a pod at once, whether or not its containers still run.
func ForceDelete(ctx context.Context, c kubernetes.Interface, p *corev1.Pod) error {
	o := metav1.NewPreconditionDeleteOptions(string(p.UID))
	o.GracePeriodSeconds = new(int64)
	return GoneOrChanged(c.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, *o))
}
