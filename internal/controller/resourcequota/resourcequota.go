// Package resourcequota shows in each ResourceQuota's status how much of it is
// used. Admission refuses what would be too much, by the same rules
// (internal/admission/quota); nothing is enforced here.
//
// Only kinds that some quota limits are watched, from when the first does.
package resourcequota

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"clipper/internal/admission/quota"
	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// Controller is the ResourceQuota controller.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	quotas corelisters.ResourceQuotaLister

	mu    sync.Mutex
	kinds map[schema.GroupResource]*kind // those watched
}

// kind is one kind of objects that quotas limit.
type kind struct {
	resource schema.GroupResource
	lister   cache.GenericLister
	synced   cache.DoneChecker
}

// named are the kinds that quotas limit without the count/ form.
var named = []schema.GroupResource{ // never changed
	{Resource: "pods"}, {Resource: "services"}, {Resource: "persistentvolumeclaims"}, {Resource: "configmaps"},
	{Resource: "secrets"}, {Resource: "replicationcontrollers"}, {Resource: "resourcequotas"},
	{Group: "resource.k8s.io", Resource: "resourceclaims"},
}

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	quotas := c.Informers.Core().V1().ResourceQuotas()
	q := &Controller{Config: c, quotas: quotas.Lister(), kinds: map[schema.GroupResource]*kind{}}
	q.Loop = controller.NewLoop("resourcequota-controller", c, 5, q.sync)
	q.Watch(quotas.Informer(), controller.On(func(_, now *corev1.ResourceQuota) {
		if now != nil {
			q.Add(controller.KeyOf(now))
		}
	}))
	return q
}

func (q *Controller) sync(ctx context.Context, key controller.Key) error {
	rq, err := q.quotas.ResourceQuotas(key.Namespace).Get(key.Name)
	if err != nil || rq.DeletionTimestamp != nil {
		return controller.IgnoreNotFound(err)
	}
	used := corev1.ResourceList{}
	for name := range rq.Spec.Hard {
		used[name] = *resource.NewQuantity(0, resource.DecimalSI)
	}
	now := q.Clock.Now()
	for _, k := range q.limited(ctx, rq) {
		objs, err := k.lister.ByNamespace(key.Namespace).List(labels.Everything())
		if err != nil {
			return err
		}
		for _, obj := range objs {
			if !quota.Covers(rq, obj) {
				continue
			}
			add(used, quota.Usage(k.resource, obj, now))
			if p, ok := obj.(*corev1.Pod); ok {
				q.late(key, p, now)
			}
		}
	}
	if equality.Semantic.DeepEqual(rq.Status.Hard, rq.Spec.Hard) && equality.Semantic.DeepEqual(rq.Status.Used, used) {
		return nil
	}
	w := *rq
	w.Status = corev1.ResourceQuotaStatus{Hard: rq.Spec.Hard, Used: used}
	_, err = q.Client.CoreV1().ResourceQuotas(key.Namespace).UpdateStatus(ctx, &w, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}

// add adds to used what is limited of an object's usage.
func add(used, usage corev1.ResourceList) {
	for name, n := range usage {
		if sum, ok := used[name]; ok {
			sum.Add(n)
			used[name] = sum
		}
	}
}

// late has the quota looked at again when a pod that should be gone by then no
// longer counts, should its kubelet never say so.
func (q *Controller) late(key controller.Key, p *corev1.Pod, now time.Time) {
	if p.DeletionTimestamp == nil || p.DeletionGracePeriodSeconds == nil || !quota.Counts(p, now) {
		return
	}
	grace := time.Duration(*p.DeletionGracePeriodSeconds) * time.Second
	q.AddAfter(key, p.DeletionTimestamp.Add(grace).Sub(now)+time.Second)
}

// limited returns the kinds that the quota limits, and watches those that are
// not yet.
func (q *Controller) limited(ctx context.Context, rq *corev1.ResourceQuota) (kinds []*kind) {
	resources := slices.Clone(named)
	for name := range rq.Spec.Hard {
		if r, ok := strings.CutPrefix(string(name), "count/"); ok {
			gr := schema.ParseGroupResource(r)
			if gr.Group != "" && !slices.Contains(resources, gr) {
				resources = append(resources, gr)
			}
		}
	}
	var fresh []cache.DoneChecker
	q.mu.Lock()
	for _, r := range resources {
		if !quota.Concerns(rq, r) {
			continue
		}
		k := q.kinds[r]
		if k == nil {
			if k = q.watch(r); k == nil {
				continue
			}
			q.kinds[r] = k
		}
		fresh = append(fresh, k.synced)
		kinds = append(kinds, k)
	}
	q.Informers.StartWithContext(q.Context())
	q.mu.Unlock()
	cache.WaitFor(ctx, "", fresh...)
	return kinds
}

// watch starts to watch a kind, or returns nil if it is not known. All kinds
// that informers know are served as v1.
func (q *Controller) watch(r schema.GroupResource) *kind {
	informer, err := q.Informers.ForResource(r.WithVersion("v1"))
	if err != nil {
		return nil
	}
	changed := func(o any) { q.changed(r, o, o) }
	reg, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed,
		UpdateFunc: func(before, now any) {
			if matters(before, now) {
				q.changed(r, before, now) // it may leave one quota's scope for another's
			}
		},
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			changed(o)
		},
	})
	if err != nil {
		return nil // it has been stopped, and so will this
	}
	return &kind{r, informer.Lister(), reg.HasSyncedChecker()}
}

// matters tells whether an object may count for something else than before.
func matters(before, now any) bool {
	b, ok1 := before.(metav1.Object)
	n, ok2 := now.(metav1.Object)
	if !ok1 || !ok2 {
		return false
	}
	if b, ok := before.(*corev1.Pod); ok {
		n := now.(*corev1.Pod)
		return controller.PodEnded(b) != controller.PodEnded(n) || b.Generation != n.Generation ||
			(b.DeletionTimestamp == nil) != (n.DeletionTimestamp == nil)
	}
	if _, ok := before.(*corev1.PersistentVolumeClaim); ok {
		return true // what is allocated is in its status
	}
	if _, ok := before.(*corev1.Service); ok {
		return true
	}
	return b.GetUID() != n.GetUID()
}

// changed has the quotas looked at that cover an object as it was or as it is.
func (q *Controller) changed(r schema.GroupResource, before, now any) {
	was, ok1 := before.(runtime.Object)
	is, ok2 := now.(runtime.Object)
	if !ok1 || !ok2 {
		return
	}
	all, _ := q.quotas.ResourceQuotas(is.(metav1.Object).GetNamespace()).List(labels.Everything())
	for _, rq := range all {
		if quota.Concerns(rq, r) && (quota.Covers(rq, is) || quota.Covers(rq, was)) {
			q.Add(controller.KeyOf(rq))
		}
	}
}
