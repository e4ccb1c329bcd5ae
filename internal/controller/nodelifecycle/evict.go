package nodelifecycle

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"clipper/internal/controller"
)

// endures tells how long a pod may stay on a node with NoExecute taints:
// forever, or for a time, which is 0 if it does not tolerate one of them.
func endures(taints []corev1.Taint, tolerations []corev1.Toleration) (forever bool, d time.Duration) {
	forever = true
	for i := range taints {
		tolerated := false
		for j := range tolerations {
			t := &tolerations[j]
			if !t.ToleratesTaint(klog.Background(), &taints[i], true) {
				continue
			}
			tolerated = true
			if t.TolerationSeconds == nil {
				continue
			}
			s := time.Duration(max(*t.TolerationSeconds, 0)) * time.Second
			if forever || s < d {
				forever, d = false, s
			}
		}
		if !tolerated {
			return false, 0
		}
	}
	return forever, d
}

// evict deletes the pods that have endured the node's taints for long enough.
func (n *Controller) evict(ctx context.Context, node *corev1.Node) error {
	n.mu.Lock()
	k := n.known[node.Name]
	n.mu.Unlock()
	if k == nil {
		return nil
	}
	taints := executing(node)
	if len(taints) == 0 && len(k.going) == 0 {
		return nil
	}
	now := n.Clock.Now()
	var due []*corev1.Pod
	going := map[types.UID]time.Time{}
	var next time.Duration
	for _, p := range controller.PodsOn(n.pods, node.Name) {
		if p.DeletionTimestamp != nil {
			continue
		}
		forever, d := endures(taints, p.Spec.Tolerations)
		if forever {
			if _, was := k.going[p.UID]; was {
				n.evictions.Eventf(p, corev1.EventTypeNormal, "TaintManagerEviction", "Cancelling deletion of Pod %s/%s", p.Namespace, p.Name)
			}
			continue
		}
		begin, was := k.going[p.UID]
		if !was {
			begin = now
		}
		going[p.UID] = begin
		if left := begin.Add(d).Sub(now); left > 0 {
			next = controller.Sooner(next, left)
		} else {
			due = append(due, p)
		}
	}
	k.going = going // only this sync, of which there is one at a time, reads it
	if next > 0 {
		n.AddAfter(node.Name, next)
	}
	_, err := controller.AllAtOnce(len(due), func(i int) error {
		p := due[i]
		n.evictions.Eventf(p, corev1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s/%s", p.Namespace, p.Name)
		err := controller.Disrupt(ctx, n.Client, p, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", false, metav1.NewTime(now))
		if err != nil {
			return err
		}
		return controller.GoneOrChanged(n.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, *metav1.NewPreconditionDeleteOptions(string(p.UID))))
	})
	return err
}
